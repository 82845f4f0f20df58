"""Decode steps recorded once per shape and replayed: on CUDA, one launch instead of hundreds.

The recorder is passed in, so only `on_cuda` needs a GPU. `on_cuda` has not been tested on one.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from swarmeval.engine.out_of_memory import is_out_of_memory
from swarmeval.engine.steps import Forward

MOST_GRAPHS = 64  # kept at once: about seven row counts times nine lengths

Work = Callable[[], None]
Recorder = Callable[[Work], Work]  # runs the work once to warm up, records it, and returns its replay

log = logging.getLogger("swarmeval")


class Graphs:
    """A steps.Step that records and replays. `begin` makes a recorder, which is used until the next `forget`.

    If recording fails, it logs one warning, sets `fault` to the reason and runs every later step eagerly. If memory
    runs out, it drops the other recordings and tries again; with no other recordings, it raises the error.
    """

    def __init__(self, begin: Callable[[], Recorder], most: int = MOST_GRAPHS) -> None:
        self.fault: str | None = None
        self._begin = begin
        self._most = most
        self._recorder: Recorder | None = None
        self._replays: OrderedDict[Hashable, tuple[Work, list[Tensor]]] = OrderedDict()  # least recently used first
        self._outputs: list[tuple[int, Tensor]] = []  # buffers of the recorded results, with their place among them

    def run(self, shape: Hashable, forward: Forward) -> tuple[Tensor, ...]:
        if self.fault is None and shape not in self._replays:
            self._record(shape, forward)
        if self.fault is not None:
            return forward()
        self._replays.move_to_end(shape)
        replay, outputs = self._replays[shape]
        replay()
        return tuple(output.clone() for output in outputs)

    def forget(self) -> None:
        self._replays.clear()
        self._outputs.clear()
        self._recorder = None

    def _output(self, place: int, like: Tensor) -> Tensor:
        """A buffer for a result: the beginning of an earlier one if possible, since results are large and many."""
        for known, buffer in self._outputs:
            if (known, buffer.shape[1:], buffer.dtype) == (place, like.shape[1:], like.dtype) and len(buffer) >= len(
                like
            ):
                return buffer[: len(like)]
        self._outputs.append((place, like.new_empty(like.shape)))
        return self._outputs[-1][1]

    def _record(self, shape: Hashable, forward: Forward) -> None:
        outputs: list[Tensor] = []

        def work() -> None:
            results = forward()
            if not outputs:  # in the warm-up: memory allocated while recording belongs to the graph
                outputs.extend(self._output(place, result) for place, result in enumerate(results))
            for output, result in zip(outputs, results, strict=True):
                output.copy_(result)

        self._recorder = self._recorder or self._begin()
        try:
            self._replays[shape] = self._recorder(work), outputs
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                self.fault = f"{type(error).__name__}: {error}".splitlines()[0]
                log.warning("no CUDA graphs, steps run eagerly: %s", self.fault)
                self.forget()
                return
            if not self._replays:
                raise  # the engine halves the rows
        if shape not in self._replays:  # outside of the handler: the error keeps the step's tensors alive
            log.info("out of memory while recording a step; %d recorded steps are dropped", len(self._replays))
            self.forget()
            self._record(shape, forward)
        if len(self._replays) > self._most:  # after adding: dropping the last graph would free the shared memory pool
            self._replays.popitem(last=False)


def on_cuda(device: torch.device) -> Recorder:
    """A recorder of CUDA graphs. The graphs share one memory pool, which is freed with the last of them."""
    pool, side = torch.cuda.graph_pool_handle(), torch.cuda.Stream(device)

    def record(work: Work) -> Work:
        current, graph = torch.cuda.current_stream(device), torch.cuda.CUDAGraph()
        side.wait_stream(current)
        try:
            with torch.cuda.stream(side):
                work()
            current.wait_stream(side)
            with torch.cuda.graph(graph, pool=pool, stream=side):
                work()
        finally:
            torch.cuda.set_stream(current)  # torch leaves `side` current if ending a capture fails
        return graph.replay

    return record
