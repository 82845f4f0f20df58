"""A step recorder that works like CUDA graphs on any device: it records operations on memory.

Decisions made in Python while recording (shapes, numbers, choice of tensors) are frozen. Only the contents of memory
may differ at replay.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from swarmeval.engine.graphs import Graphs, Recorder, Work
from swarmeval.engine.slots import SlotDecoder
from tests.support.decoder_comparison import ROWS


class _Watched(TorchDispatchMode):
    """Calls `record` with every operation run within its context."""

    def __init__(self, record: Callable[[Any, Any, Any, Any], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._record = record

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._record(func, args, kwargs or {}, result)
        return result


class Tape:
    """A tape whose `begin` returns a recorder. It counts recordings and replays."""

    def __init__(self) -> None:
        self.begun = 0
        self.recorded = 0
        self.replayed = 0

    def begin(self) -> Recorder:
        self.begun += 1
        return self._record

    def _record(self, work: Work) -> Work:
        work()
        self.recorded += 1
        operations: list[tuple[Any, Any, Any, Any]] = []
        with _Watched(lambda *operation: operations.append(operation)):
            work()

        def replay() -> None:
            self.replayed += 1
            for func, args, kwargs, before in operations:
                _keep(func(*args, **kwargs), before)

        return replay


def _keep(results: Any, before: Any) -> None:
    """Copy results to the memory of the recorded ones, unless an in-place operation or a view already did."""
    for new, old in zip(tree_leaves(results), tree_leaves(before), strict=True):
        if isinstance(old, Tensor) and new.data_ptr() != old.data_ptr():
            assert new.shape == old.shape
            old.copy_(new)


class Stale(Tape):
    """A tape that replays nothing, as if a step read values that are in no buffer."""

    def begin(self) -> Recorder:
        record = super().begin()

        def once(work: Work) -> Work:
            record(work)
            return lambda: None

        return once


class Scarce(Tape):
    """A tape that runs out of memory at its first recordings."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        super().__init__()
        self.failures = times
        self._error = error or torch.OutOfMemoryError("made up")

    def begin(self) -> Recorder:
        record = super().begin()

        def scarce(work: Work) -> Work:
            self.failures -= 1
            if self.failures >= 0:
                raise self._error
            return record(work)

        return scarce


class Small(Tape):
    """A tape with memory for some recordings of a `begin`, as graphs that share a pool. One more raises this error."""

    def __init__(self, room: int, error: Exception) -> None:
        super().__init__()
        self._room = room
        self._error = error

    def begin(self) -> Recorder:
        record, made = super().begin(), 0

        def limited(work: Work) -> Work:
            nonlocal made
            made += 1
            if made > self._room:
                raise self._error
            return record(work)

        return limited


def broken_capture() -> RuntimeError:
    """The error of CUDA if memory runs out within a capture: ending the capture fails too, with an error of its own."""
    broken = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    broken.__context__ = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    return broken


def recorded(tape: Tape, rows: int = ROWS, model: Any = None, most: int = 64) -> SlotDecoder:
    """A decoder that records its steps on this tape; without `model`, of the tiny engines' model."""
    from tests.support import tiny_engine  # here: the recorder itself must work without msgspec

    return SlotDecoder(model or tiny_engine.MODEL, rows, share=False, step=Graphs(tape.begin, most))


def refusing(error: Exception) -> Callable[[], Recorder]:
    """A `begin` whose recorder raises this error."""

    def record(work: Work) -> Work:
        work()
        raise error

    return lambda: record


def host_waits(work: Callable[[], object]) -> list[str]:
    """The operations of `work` that would make the host wait for a GPU, except reads of whole tensors."""
    waiting = []

    def record(func: Any, args: Any, kwargs: Any, result: Any) -> None:
        indexes = args[1] if str(func).startswith("aten.index") and isinstance(args[1], (list, tuple)) else ()
        by_mask = any(isinstance(index, Tensor) and index.dtype == torch.bool for index in indexes)
        if by_mask or str(func).split(".")[1] in _WAITING:
            waiting.append(str(func))

    with _Watched(record):
        work()
    return waiting


_WAITING = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "_unique2", "repeat_interleave"}
