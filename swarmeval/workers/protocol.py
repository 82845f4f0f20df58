"""Interfaces of the two halves of a worker. Does not know about transports or models.

`Replica` is synchronous and lives inside the worker process; each engine implements it. `Worker` is its asynchronous
counterpart in the coordinator, for a local process, a Ray actor or an endpoint.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from types import TracebackType
from typing import Protocol, Self

from swarmeval.requests import Answer, Piece, ReplicaInfo, Request, WorkerProgress


class Replica(Protocol):
    """One loaded model on one device. Not thread-safe. Every call returns soon."""

    def info(self) -> ReplicaInfo: ...

    def submit(self, request: Request) -> None:
        """Append a request to the queue; its queue time starts now."""

    def step(self) -> list[Answer]:
        """Admit waiting requests, advance all rows by about one token, and return the finished answers."""

    def pieces(self) -> list[Piece]:
        """Return the new text of streamed requests in progress since the last call."""

    def drop_waiting(self) -> list[str]:
        """Drop the requests that have not started; return their job ids."""

    def cancel(self, job_ids: Collection[str]) -> None:
        """Drop these requests, started or not, and free their rows. Ignores unknown ids."""

    def progress(self) -> WorkerProgress: ...

    def busy(self) -> bool:
        """Whether step() has anything to do."""


class Worker(Protocol):
    """One replica as seen from the coordinator's event loop."""

    name: str  # the physical device: "cuda:3", "cpu:0"
    pid: int | None  # of its process, if that runs on this machine

    @property
    def progress(self) -> WorkerProgress:
        """The last reported progress."""

    @property
    def running(self) -> bool:
        """Whether it has started and is not known to have ended."""

    async def start(self) -> ReplicaInfo:
        """Load the replica, also again after a death. Raises WorkerDied, or UserError if a retry cannot help."""

    def generate(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        """Yield one answer per request as they arrive. Calls may overlap.

        Raises WorkerDied if the worker ends or hangs. Requests dropped by drain() get no answer. Closing the iterator
        early frees the rows of its requests.
        """

    def stream(self, request: Request) -> AsyncGenerator[Piece | Answer, None]:
        """Yield the pieces of one request's answer, then the answer. The caller closes it when leaving early."""

    async def drain(self) -> None:
        """Drop the requests that have not started. Those in progress are still answered."""

    async def stop(self) -> None:
        """End the worker at once. Idempotent."""


class Fleet(Protocol):
    """All workers of a run. Leaving the context stops them and leaves no process behind."""

    @property
    def workers(self) -> Sequence[Worker]:
        """All workers so far: new devices are appended; lost ones stay in the list and do not start again."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
