"""The two halves of a worker. Knows no transport and no model.

`Replica` is synchronous and lives inside a worker: an engine implements it. `Worker` is its asynchronous
stand-in outside, whatever carries the messages (local process, Ray actor, endpoint).
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from types import TracebackType
from typing import Protocol, Self

from swarmeval.requests import Answer, Piece, ReplicaInfo, Request, WorkerProgress


class Replica(Protocol):
    """One loaded model on one device. Not thread-safe; every call returns soon."""

    def info(self) -> ReplicaInfo: ...

    def submit(self, request: Request) -> None:
        """Put a request at the end of the queue; the clock of its queue time starts."""

    def step(self) -> list[Answer]:
        """Advance all rows by about one token, admit what fits; give what is finished."""

    def pieces(self) -> list[Piece]:
        """What streamed requests that go on have grown by since the last call."""

    def drop_waiting(self) -> list[str]:
        """Forget the requests that have not begun; give their job ids."""

    def cancel(self, job_ids: Collection[str]) -> None:
        """Forget these requests, begun or not, and free their rows. Unknown ids are ignored."""

    def progress(self) -> WorkerProgress: ...

    def busy(self) -> bool:
        """Whether step() has anything to do."""


class Worker(Protocol):
    """One replica seen from the coordinator's event loop."""

    name: str  # the physical device: "cuda:3", "cpu:0"
    pid: int | None  # of its process, where that runs on this machine

    @property
    def progress(self) -> WorkerProgress:
        """What it does now."""

    @property
    def running(self) -> bool:
        """Whether it has started and is not known to have ended."""

    async def start(self) -> ReplicaInfo:
        """Load the replica; again after a death. Raises WorkerDied, or UserError when trying again is useless."""

    def generate(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        """Yield an answer per request as each is born. May be called while others run.

        Raises WorkerDied when the worker ends or hangs; ends early for what drain() dropped. One that is closed
        before its end frees the rows of what it had asked.
        """

    def stream(self, request: Request) -> AsyncGenerator[Piece | Answer, None]:
        """The same for one request that streams: pieces, then its answer. To be closed by who leaves early."""

    async def drain(self) -> None:
        """Make the replica forget what it has not begun; what it has begun is still answered."""

    async def stop(self) -> None:
        """End the worker at once, whatever it does. Idempotent."""


class Fleet(Protocol):
    """All workers of a run; leaving the context stops them and leaves no process behind."""

    @property
    def workers(self) -> Sequence[Worker]:
        """Grows at its end when a device joins; one that is gone stays, and does not start again."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
