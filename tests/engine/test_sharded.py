"""A model whose layers lie on several devices: every operation has its tensors on one of them.

Torch's `meta` device stands in for the second GPU: it has shapes and devices, but no data.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from swarmeval.engine.slots import SlotDecoder
from tests.support import tiny_model
from tests.support.decoder_comparison import PROMPTS, admit

pytestmark = pytest.mark.usefixtures("one_thread")


class IndexDevices(TorchDispatchMode):
    """Notes the devices of the tensors of every operation with an index."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: dict[str, set[frozenset[str]]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if "index" in (name := str(func)):
            devices = frozenset(str(leaf.device) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
            self.seen.setdefault(name, set()).add(devices)
        return result


def sharded() -> Any:
    """A model of two layers, the second on another device, with the hooks that accelerate would add."""
    model = tiny_model.model()
    model.model.layers[1].to("meta").register_forward_pre_hook(_moved("meta"), with_kwargs=True)
    model.model.norm.register_forward_pre_hook(_moved("cpu"), with_kwargs=True)
    return model


def _moved(device: str) -> Callable[..., Any]:
    def move(leaf: Any) -> Any:
        return torch.zeros_like(leaf, device=device) if isinstance(leaf, Tensor) else leaf

    return lambda module, args, kwargs: tree_map(move, (args, kwargs))


@torch.inference_mode()
def test_every_index_is_on_the_device_of_what_it_indexes() -> None:
    decoder = SlotDecoder(sharded(), 8)
    with IndexDevices() as indexed:
        admit(decoder, [PROMPTS[2], PROMPTS[1], PROMPTS[2], PROMPTS[0], PROMPTS[2]])  # one group, not in order
        assert decoder.decode([5] * 5).shape[0] == 5
        decoder.evict(0)
        assert decoder.decode([6] * 4).shape[0] == 4
    assert indexed.seen
    assert all(devices <= {frozenset(["cpu"]), frozenset(["meta"])} for devices in indexed.seen.values())
    assert {frozenset(["cpu"]), frozenset(["meta"])} in indexed.seen.values()
