"""A fleet inside the test's event loop: workers that answer at once and die as scripted."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from types import TracebackType
from typing import Self

from swarmeval.errors import DeviceError, WorkerDied, WorkerGone
from swarmeval.requests import Answer, Piece, Refusal, ReplicaInfo, Reply, Request, WorkerProgress

INFO = ReplicaInfo(
    engine="echo",
    model="echo",
    device="cpu",
    rows=4,
    max_context_tokens=100,
    chat_template_sha256="echo",
    weights="none",
    compute_dtype="none",
    memory_mb=0.0,
    load_s=0.0,
)


class EchoWorker:
    """A worker that answers each request with the request's job id.

    Dies at its n-th request for every n in `deaths`, whenever it meets a job of `poison`, while loading in its
    first `bad_loads` starts, and refuses the jobs of `refused` as often as told. With `at_once` a job of `poison`
    kills before any job beside it is answered.
    """

    def __init__(
        self,
        name: str,
        deaths: Sequence[int] = (),
        poison: frozenset[str] = frozenset(),
        bad_loads: int = 0,
        refused: dict[str, int] | None = None,
        broken: str = "",
        loading_steps: int = 1,
        at_once: bool = False,
    ) -> None:
        self.name = name
        self.pid: int | None = None
        self.progress = WorkerProgress(rows_in_use=0, waiting=0, output_tokens=0)
        self.starts = 0
        self.served: list[str] = []
        self._deaths = set(deaths)
        self._poison = poison
        self._bad_loads = bad_loads
        self._refused = {} if refused is None else dict(refused)
        self.refusals: Counter[str] = Counter()  # refusals given, by job
        self.victims: list[set[str]] = []  # the jobs in flight at each death
        self.in_flight: set[str] = set()
        self._broken = broken
        self._loading_steps = loading_steps
        self._at_once = at_once
        self._received = 0
        self._alive = False
        self._draining = False

    @property
    def running(self) -> bool:
        return self._alive

    async def start(self) -> ReplicaInfo:
        for _ in range(self._loading_steps):
            await asyncio.sleep(0)
        self.starts += 1
        if self._broken:
            raise DeviceError(f"{self.name}: {self._broken}")
        if self.starts <= self._bad_loads:
            raise WorkerDied(f"{self.name}: died while loading")
        self._alive = True
        return INFO

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        if not self._alive:
            raise WorkerGone(f"{self.name}: is not running")
        unanswered = {request.job_id for request in requests}
        self.in_flight |= unanswered
        for request in requests:
            await asyncio.sleep(0)
            if self._draining:
                return
            self._received += 1
            met = self.in_flight if self._at_once else {request.job_id}
            if self._alive and (self._received in self._deaths or met & self._poison):
                self._alive = False
                self.victims.append(set(self.in_flight))
            if not self._alive:
                self.in_flight -= unanswered
                raise WorkerDied(f"{self.name}: died at work")
            unanswered.discard(request.job_id)
            self.in_flight.discard(request.job_id)
            yield self.answer(request)

    async def stream(self, request: Request) -> AsyncGenerator[Piece | Answer, None]:
        async for answer in self.generate([request]):
            yield answer

    async def drain(self) -> None:
        self._draining = True

    async def stop(self) -> None:
        self._alive = False

    def answer(self, request: Request) -> Answer:
        if self._refused.get(request.job_id, 0) > 0:
            self._refused[request.job_id] -= 1
            self.refusals[request.job_id] += 1
            return Refusal(request.job_id, "not now", retry=True)
        self.served.append(request.job_id)
        return Reply(request.job_id, f"echo {request.job_id}", 1, 2, 0.0, 0.1, 0.2, "stop")


class EchoFleet:
    """A Fleet of EchoWorkers."""

    def __init__(self, workers: Sequence[EchoWorker]) -> None:
        self.workers = list(workers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            await worker.stop()
