"""The pool: keeps a fleet's workers alive and sends each request to the device with the most free rows."""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self

from swarmeval.errors import DeviceError, UserError, WorkerDied
from swarmeval.requests import Answer, Piece, ReplicaInfo, Reply, Request
from swarmeval.scheduling.bell import Bell
from swarmeval.scheduling.supervisor import BACKOFF_S, MAX_FRUITLESS_LIVES, Supervisor
from swarmeval.serving.errors import Overloaded, Unready
from swarmeval.workers.protocol import Fleet, Worker

LOOK_EVERY_S = 0.25  # interval of the check whether an idle worker is alive
TRIES = 3  # per request, if workers die before they send anything
NO_REPLICA = "no replica is ready; see /health"
LATENCY_WEIGHT = 0.1  # of the newest reply in the running mean

log = logging.getLogger("swarmeval")


class PooledWorker:
    """The pool's state for one worker."""

    def __init__(self, worker: Worker, backoff_s: Sequence[float]) -> None:
        self.worker = worker
        self.supervisor = Supervisor(worker, backoff_s)
        self.info: ReplicaInfo | None = None  # while it is ready
        self.jobs = 0  # in flight
        self.retired = False

    def free(self) -> int:
        """Number of free rows; if negative, the number of waiting requests."""
        return (self.info.rows if self.info else 0) - self.jobs


class Pool:
    """A context manager that starts the fleet's workers, restarts dead ones and stops them at the end."""

    def __init__(self, fleet: Fleet, most_waiting: int, backoff_s: Sequence[float] = BACKOFF_S) -> None:
        """`most_waiting` limits the requests without a row."""
        self._fleet = fleet
        self._most_waiting = most_waiting
        self._bell = Bell()
        self._latency_s = 1.0  # running mean over replies
        self._keepers: list[asyncio.Task[None]] = []
        self.members = [PooledWorker(worker, backoff_s) for worker in fleet.workers]
        self.failure: UserError | None = None  # why all devices were given up
        self.info: ReplicaInfo | None = None  # of the first replica that was ready

    async def __aenter__(self) -> Self:
        await self._fleet.__aenter__()
        self._keepers = [asyncio.create_task(self._keep_alive(member)) for member in self.members]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await self._fleet.__aexit__(kind, error, trace)

    @property
    def ready(self) -> bool:
        return any(member.info for member in self.members)

    @property
    def rows(self) -> int:
        return sum(member.info.rows for member in self.members if member.info)

    @property
    def in_flight(self) -> int:
        return sum(member.jobs for member in self.members)

    @property
    def waiting(self) -> int:
        return sum(max(0, -member.free()) for member in self.members)

    async def until_ready(self) -> None:
        """Return when a device is ready. Raises the last device's UserError if all are given up."""
        while not self.ready:
            if self.failure is not None:
                raise self.failure
            await self._bell.wait()

    async def until_settled(self) -> None:
        """Return when every device is ready or given up. Raises the last device's UserError if all are given up."""
        while not all(member.info or member.retired for member in self.members):
            await self._bell.wait()
        await self.until_ready()

    async def until_failed(self) -> None:
        """Wait until all devices are given up, then raise the last one's UserError."""
        while self.failure is None:
            await self._bell.wait()
        raise self.failure

    def check_room(self, count: int) -> None:
        """Raise Overloaded if `count` more requests would exceed the queue, Unready if no replica is ready."""
        if not self.ready:
            raise Unready(NO_REPLICA)
        wait = self.in_flight + count - self.rows
        if wait > self._most_waiting and self.in_flight:
            raise Overloaded(self.waiting, self._retry_s())

    async def stream(self, request: Request) -> AsyncGenerator[Piece | Answer, None]:
        """Yield the pieces of one request's answer, then the answer. Closing the generator frees the row.

        Raises Unready if no replica is ready. Raises WorkerDied if the worker dies after it has sent something, or if
        TRIES workers die.
        """
        for tries in range(1, TRIES + 1):
            member = max((member for member in self.members if member.info), key=PooledWorker.free, default=None)
            if member is None:
                raise Unready(NO_REPLICA)
            started = False
            member.jobs += 1
            try:
                async with aclosing(member.worker.stream(request)) as items:
                    async for item in items:
                        started = True
                        if isinstance(item, Reply):
                            self._latency_s += LATENCY_WEIGHT * (item.latency_s - self._latency_s)
                        yield item
                return
            except WorkerDied:
                member.info = None  # until it has restarted
                if started or tries == TRIES:
                    raise
            finally:
                member.jobs -= 1

    async def _keep_alive(self, member: PooledWorker) -> None:
        """Start a worker and restart it whenever it ends, until it is given up."""
        while True:
            try:
                member.info = await member.supervisor.start()
            except UserError as error:
                log.warning("%s", error)
                self._retire(member, error)
                return
            if member.info is None:
                self._retire(member, _given_up(member.supervisor.last_death))
                return
            member.supervisor.life_began()
            self.info = self.info or member.info
            log.info("%s: ready, %d rows", member.worker.name, member.info.rows)
            self._bell.ring()
            while member.worker.running:  # noqa: ASYNC110 (an idle worker's death raises no event)
                await asyncio.sleep(LOOK_EVERY_S)
            member.info = None
            member.supervisor.life_ended(answered=True)  # loading counts as success: it may have had no requests
            log.warning("%s: ended; restarting it", member.worker.name)

    def _retire(self, member: PooledWorker, error: UserError) -> None:
        member.retired = True
        if all(other.retired for other in self.members):
            self.failure = error
        self._bell.ring()

    def _retry_s(self) -> int:
        """Estimated time until half of the waiting requests have a row, in whole seconds from 1 to 60."""
        return max(1, min(60, math.ceil(self._latency_s * self.waiting / max(1, self.rows) / 2)))


def _given_up(death: WorkerDied | DeviceError | None) -> DeviceError:
    return (
        death
        if isinstance(death, DeviceError)
        else DeviceError(f"{death}; given up after {MAX_FRUITLESS_LIVES} such starts")
    )
