"""Memory that runs out while a model is loaded is reported with its remedies, and is not taken for a crash."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import model_loader
from swarmeval.errors import DeviceError
from tests.support import tiny_model


class Full(TorchDispatchMode):
    """A device without memory for one kind of operation."""

    def __init__(self, operation: str, error: Callable[[], Exception]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._operation, self._error = operation, error

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._operation in str(func):
            raise self._error()
        return func(*args, **(kwargs or {}))


@pytest.mark.slow
def test_memory_that_runs_out_while_quantizing_is_reported(tmp_path: Path) -> None:
    """transformers' loader swallows the error and raises another one, without the reason."""
    folder = str(tiny_model.save(tmp_path))
    with (
        Full("quantize_4bit", lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 224.00 MiB.")),
        pytest.raises(DeviceError) as caught,
    ):
        model_loader.load(folder, device="cpu", weights="nf4")
    assert str(caught.value) == f"{folder}: out of memory while loading onto cpu; try a smaller model"


@pytest.mark.slow
def test_another_fault_while_quantizing_is_raised_with_its_reason(tmp_path: Path) -> None:
    folder = str(tiny_model.save(tmp_path))
    with (
        Full("quantize_4bit", lambda: RuntimeError("no kernel image is available")),
        pytest.raises(RuntimeError) as caught,
    ):
        model_loader.load(folder, device="cpu", weights="nf4")
    assert any("no kernel image is available" in note for note in caught.value.__notes__)
