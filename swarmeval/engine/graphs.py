"""Steps that are recorded once for each shape and replayed: on CUDA one launch instead of hundreds.

What records is given, so that everything but `on_cuda` works anywhere. `on_cuda` was written without a GPU.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

from swarmeval.engine.steps import Shape

MOST_GRAPHS = 64  # kept at once: seven sizes of rows by nine lengths

Work = Callable[[], None]
Recorder = Callable[[Work], Work]  # does work once to warm up, records it, and gives what replays it

log = logging.getLogger("swarmeval")


class Graphs:
    """A steps.Step that records and replays. What `begin` gives records until the next `forget`.

    Where recording fails it says so once and runs every step eagerly from then on; `fault` then says why.
    """

    def __init__(self, begin: Callable[[], Recorder], most: int = MOST_GRAPHS) -> None:
        self.fault: str | None = None
        self._begin = begin
        self._most = most
        self._recorder: Recorder | None = None
        self._replays: OrderedDict[Shape, Work] = OrderedDict()  # the one not used for longest first
        self._logits: dict[int, Tensor] = {}  # rows -> where replays of so many rows write: [rows, vocabulary]

    def run(self, shape: Shape, forward: Callable[[], Tensor]) -> Tensor:
        if self.fault is None and shape not in self._replays:
            self._record(shape, forward)
        if self.fault is not None:
            return forward()
        self._replays.move_to_end(shape)
        self._replays[shape]()
        return self._logits[shape.rows].clone()

    def forget(self) -> None:
        self._replays.clear()
        self._logits.clear()
        self._recorder = None

    def _record(self, shape: Shape, forward: Callable[[], Tensor]) -> None:
        def work() -> None:
            logits = forward()
            if shape.rows not in self._logits:  # while warming up: what is made while recording belongs to the record
                self._logits[shape.rows] = logits.new_empty(logits.shape)
            self._logits[shape.rows].copy_(logits)

        self._recorder = self._recorder or self._begin()
        try:
            self._replays[shape] = self._recorder(work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.fault = f"{type(error).__name__}: {error}".splitlines()[0]
            log.warning("no CUDA graphs, every step is launched anew: %s", self.fault)
            self.forget()
            return
        if len(self._replays) > self._most:  # only now: the memory of all would go with the last of them
            self._replays.popitem(last=False)


def on_cuda(device: torch.device) -> Recorder:
    """Records CUDA graphs; all of them share one pool of memory, which goes when they have gone."""
    pool, side = torch.cuda.graph_pool_handle(), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

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
            torch.cuda.set_stream(current)  # torch leaves it at `side` when the end of a recording fails
        return graph.replay

    return record
