"""A model gets the kernels of its device, and parts of a GPU's model are fused even without pages."""

from types import SimpleNamespace

import pytest
import torch

from swarmeval.engine.kernels import choice
from swarmeval.engine.kernels.choice import ChosenKernels
from tests.support import tiny_model


def test_a_cpu_has_one_set_of_compiled_kernels() -> None:
    found = choice.chosen(tiny_model.model(), one_device=True)
    assert found.native is not None
    assert found == ChosenKernels(native=found.native, parts=found.native)
    assert found.are_compiled


@pytest.mark.slow
@pytest.mark.parametrize("one_device", [True, False])
def test_another_device_without_flash_attention_has_kernels_for_parts_only(one_device: bool) -> None:
    elsewhere = SimpleNamespace(device=torch.device("meta"), dtype=torch.bfloat16)
    found = choice.chosen(elsewhere, one_device)
    assert (found.native, found.portable) == (None, None)
    assert found.parts is not None
    assert found.parts.dtype == torch.bfloat16


def test_without_kernels_nothing_is_compiled() -> None:
    assert not ChosenKernels().are_compiled
