"""Keeps every worker of a fleet alive and busy: hands out batches, retries, restarts, retires.

Knows no journal and no judge: what it learns goes to its Office.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from swarmeval.errors import DeviceError, WorkerDied, WorkerGone
from swarmeval.records import WorkerStatus
from swarmeval.requests import Refusal, ReplicaInfo, Reply, Request
from swarmeval.scheduling.device_queues import DeviceQueues
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.protocol import Fleet, Worker

BARREN_LIVES = 3  # a device whose worker dies this often in a row without an answer is retired
BACKOFF_S = (1.0, 4.0)  # before the second start, and before every later one
JOINED_EVERY_S = 1.0  # how often a dispatch looks whether its fleet has grown

log = logging.getLogger("swarmeval")


class Office(Protocol):
    """Where a dispatch takes its jobs from and reports to. No call may take long but keep()."""

    def next_unanswered(self, k: int) -> int: ...
    def all_answered(self) -> bool: ...
    def request(self, k: int) -> Request: ...
    def ready(self, device: str, info: ReplicaInfo) -> None:
        """A replica is loaded; raises UserError when it does not fit the run."""

    async def keep(self, reply: Reply, device: str, batch_id: int, attempts: int) -> None: ...
    def fail(self, k: int, reason: str, attempts: int, device: str) -> None: ...


class Bell:
    """Wakes everyone who waits; who waits has checked before that there is nothing to do."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()
        self._event.clear()

    async def wait(self) -> None:
        await self._event.wait()


class Device:
    """One worker as the dispatch sees it."""

    def __init__(self, number: int, worker: Worker) -> None:
        self.number = number
        self.worker = worker
        self.state = "waiting"
        self.batches = 0  # in flight
        self.jobs = 0  # in flight
        self.done = 0
        self.starts = 0
        self.barren = 0  # lives in a row that ended without an answer
        self.died = False
        self.deaths = 0
        self.last_error = ""

    def bury(self, death: Exception) -> None:
        """Remember why it died."""
        self.deaths += 1
        self.last_error = str(death)

    def status(self) -> WorkerStatus:
        return WorkerStatus(
            device=self.worker.name,
            state=self.state,
            pid=self.worker.pid,
            in_flight=self.jobs,
            rows_in_use=self.worker.progress.rows_in_use,
            done_jobs=self.done,
            restarts=max(0, self.starts - 1),
            deaths=self.deaths,
            last_error=self.last_error,
        )


class Dispatch:
    """One session's hand-out of a run's jobs to a fleet."""

    def __init__(
        self, total: int, config: RunConfig, fleet: Fleet, office: Office, backoff_s: Sequence[float] = BACKOFF_S
    ) -> None:
        self.devices = [Device(number, worker) for number, worker in enumerate(fleet.workers)]
        self._fleet = fleet
        self._driven: list[asyncio.Task[None]] = []
        self._config = config
        self._office = office
        self._backoff_s = backoff_s
        self._queues = DeviceQueues(
            total, config.batch_size, len(self.devices), config.distribution == "dynamic", office.next_unanswered
        )
        self._tries: Counter[int] = Counter()  # of jobs that failed at least once and are not answered
        self._bell = Bell()
        self._draining = False
        self._last_error: Exception | None = None

    async def run(self) -> None:
        """Return when every job is answered, or when drained.

        Raises DeviceError when no device is left, and what the Office raises, in an ExceptionGroup.
        """
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(self._drain_workers()), group.create_task(self._welcome(group))]
            self._driven = [group.create_task(self._drive(device)) for device in self.devices]
            while driven := [task for task in self._driven if not task.done()]:
                await asyncio.wait(driven)
            for task in beside:
                task.cancel()
        if not self._ended():
            raise DeviceError(f"no device is left ({self._last_error}); mend it, the same command resumes")

    def add(self, k: int) -> None:
        """Hand out one more job, before what waits in the queues."""
        self._queues.give_back(k, suspect=False)
        self._bell.ring()

    def wake(self) -> None:
        """Look once more whether all is answered."""
        self._bell.ring()

    def drain(self) -> None:
        """Begin nothing new; run() returns when what has begun is answered."""
        self._draining = True
        self._bell.ring()

    def _ended(self) -> bool:
        return self._draining or self._office.all_answered()

    async def _drain_workers(self) -> None:
        while not self._draining:
            await self._bell.wait()
        await asyncio.gather(*(device.worker.drain() for device in self.devices))

    async def _welcome(self, group: asyncio.TaskGroup) -> None:
        """Drive what joins the fleet as well."""
        while True:
            await asyncio.sleep(JOINED_EVERY_S)
            for worker in self._fleet.workers[len(self.devices) :]:
                device = Device(len(self.devices), worker)
                self.devices.append(device)
                self._queues.add_device()
                self._driven.append(group.create_task(self._drive(device)))
                log.info("%s: joins the run", worker.name)

    async def _drive(self, device: Device) -> None:
        """Keep one worker alive and busy until the run ends or the device is retired."""
        while not self._ended():
            if device.barren >= BARREN_LIVES:
                self._retire(device)
                return
            if device.starts:
                await self._back_off(device)
            info = await self._start(device)
            if info is not None:
                self._office.ready(device.worker.name, info)
                await self._serve(device, info)
        device.state = "stopped"

    async def _start(self, device: Device) -> ReplicaInfo | None:
        """A fresh worker, or None when it died while loading."""
        device.state = "restarting" if device.starts else "loading"
        device.starts += 1
        device.died = False
        starting = asyncio.ensure_future(device.worker.start())
        ringing = asyncio.ensure_future(self._until_ended())
        try:
            await asyncio.wait([starting, ringing], return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                return None
            info = starting.result()
        except (WorkerDied, DeviceError) as death:
            log.warning(str(death))
            self._last_error = death
            device.bury(death)
            # A device that is not fit says so itself: a second start would say the same.
            device.barren = BARREN_LIVES if isinstance(death, DeviceError) else device.barren + 1
            return None
        finally:
            for task in (starting, ringing):
                task.cancel()
            await asyncio.gather(starting, ringing, return_exceptions=True)
        device.state = "ready"
        self._bell.ring()
        return info

    async def _until_ended(self) -> None:
        while not self._ended():
            await self._bell.wait()

    async def _back_off(self, device: Device) -> None:
        """The pause before a restart, cut short when the run ends."""
        device.state = "restarting"
        pause_s = self._backoff_s[min(device.starts, len(self._backoff_s)) - 1]
        try:
            async with asyncio.timeout(pause_s):
                await self._until_ended()
        except TimeoutError:
            return

    def _retire(self, device: Device) -> None:
        device.state = "retired"
        self._queues.retire(device.number)
        log.warning("%s: retired after %d starts (%s)", device.worker.name, device.starts, self._last_error)
        self._bell.ring()

    async def _serve(self, device: Device, info: ReplicaInfo) -> None:
        """Hand batches to a live worker until it dies or the run ends."""
        wanted = self._config.max_in_flight
        limit = -(-2 * info.rows // self._config.batch_size) if wanted == "auto" else wanted
        done_before, alone = device.done, False
        async with asyncio.TaskGroup() as batches:
            while not self._ended() and not device.died:
                taken = self._queues.take(device.number, self._dry(device, info)) if device.batches < limit else None
                alone = taken is None and not device.batches and (taken := self._queues.take_suspect()) is not None
                if taken is None:
                    await self._bell.wait()
                    continue
                device.batches += 1
                device.jobs += len(taken[1])
                batch = batches.create_task(self._run_batch(device, *taken))
                if alone:
                    await asyncio.wait([batch])
        if device.died and not alone:
            device.barren = 0 if device.done > done_before else device.barren + 1

    def _dry(self, device: Device, info: ReplicaInfo) -> bool:
        """Whether a device should take batches of others: its rows run empty, and none of them is yet to come."""
        to_come = any(other.state in ("waiting", "loading") for other in self.devices)
        return device.jobs < (1 if to_come else info.rows)

    async def _run_batch(self, device: Device, batch_id: int, jobs: Sequence[int]) -> None:
        """Have one batch answered; what is not, is tried again or failed."""
        requests = [self._office.request(k) for k in jobs]
        unanswered = dict(zip((request.job_id for request in requests), jobs, strict=True))
        try:
            async for answer in device.worker.generate(requests):
                k = unanswered.pop(answer.job_id)
                device.jobs -= 1
                if isinstance(answer, Refusal):
                    self._try_again(k, answer.reason, device, answer.retry)
                    continue
                device.done += 1
                await self._office.keep(answer, device.worker.name, batch_id, self._tries.pop(k, 0) + 1)
        except WorkerDied as death:
            self._mourn(device, death)
            for k in unanswered.values():
                if isinstance(death, WorkerGone):
                    self._queues.give_back(k, suspect=self._is_suspect(k))
                else:
                    self._try_again(k, str(death), device)
        finally:
            device.batches -= 1
            device.jobs -= len(unanswered)
            self._bell.ring()
        if self._config.verbose:
            log.info("%s: batch %d, %d jobs answered", device.worker.name, batch_id, len(jobs) - len(unanswered))

    def _mourn(self, device: Device, death: WorkerDied) -> None:
        if not device.died:
            log.warning(str(death))
            device.bury(death)
        device.died = True
        self._last_error = death

    def _try_again(self, k: int, reason: str, device: Device, useful: bool = True) -> None:
        """Queue a job whose generation failed once more, or record it as failed when that was the last attempt.

        With one attempt left it may be what kills workers: it is then run alone, and takes no neighbour with it.
        """
        self._tries[k] += 1
        if useful and self._tries[k] < self._config.max_attempts:
            self._queues.give_back(k, suspect=self._is_suspect(k))
            return
        self._office.fail(k, reason, self._tries.pop(k), device.worker.name)

    def _is_suspect(self, k: int) -> bool:
        allowed = self._config.max_attempts
        return allowed > 2 and self._tries.get(k, 0) == allowed - 1
