"""Keeps every worker of a fleet busy: hands out batches, retries failed jobs, adds devices that join.

Passes results to the bookkeeper and completions to the judges; it never accesses the journal.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

from swarmeval.errors import DeviceError, WorkerDied, WorkerGone
from swarmeval.records import WorkerStatus
from swarmeval.requests import Refusal, ReplicaInfo
from swarmeval.runs.plan import whole_tasks
from swarmeval.scheduling.bookkeeper import Bookkeeper
from swarmeval.scheduling.context import RunContext
from swarmeval.scheduling.device_queues import DeviceQueues
from swarmeval.scheduling.judge_queue import JudgeQueue
from swarmeval.scheduling.row_capacity import RowCapacity
from swarmeval.scheduling.supervisor import BACKOFF_S, SUSPECTS_WEIGHT, Supervisor
from swarmeval.scheduling.suspects import Suspects
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.protocol import Fleet, Worker

LOOK_EVERY_S = 1.0  # interval between looks at the fleet; workers report their progress as often

log = logging.getLogger("swarmeval")


class Device:
    """One supervised worker and its load."""

    def __init__(self, number: int, worker: Worker, backoff_s: Sequence[float]) -> None:
        self.number = number
        self.worker = worker
        self.supervisor = Supervisor(worker, backoff_s)
        self.batches = 0  # in flight
        self.jobs = 0  # in flight
        self.capacity = RowCapacity(0, worker.progress)  # of the current life
        self.done = 0
        self.death: WorkerDied | None = None  # of the current life
        self.victims: list[int] = []  # jobs in flight at that death

    def status(self) -> WorkerStatus:
        supervisor = self.supervisor
        return WorkerStatus(
            device=self.worker.name,
            state=supervisor.state,
            pid=self.worker.pid,
            in_flight=self.jobs,
            rows_in_use=self.worker.progress.rows_in_use,
            done_jobs=self.done,
            restarts=max(0, supervisor.starts - 1),
            deaths=supervisor.deaths,
            last_error=str(supervisor.last_death or ""),
            loading=self.worker.progress.loading,
        )


class Dispatch:
    """Dispatches the jobs of a run to a fleet during one session."""

    def __init__(
        self,
        config: RunConfig,
        fleet: Fleet,
        bookkeeper: Bookkeeper,
        judges: JudgeQueue,
        context: RunContext,
        backoff_s: Sequence[float] = BACKOFF_S,
    ) -> None:
        self.devices = [Device(number, worker, backoff_s) for number, worker in enumerate(fleet.workers)]
        self._fleet = fleet
        self._drivers: list[asyncio.Task[None]] = []
        self._config = config
        self._bookkeeper = bookkeeper
        self._judges = judges
        self._context = context
        self._backoff_s = backoff_s
        jobs, size, dynamic = bookkeeper.ledger.jobs, config.batch_size, config.distribution == "dynamic"
        self._queues = DeviceQueues(
            jobs.total,
            size,
            whole_tasks(jobs.total // len(jobs.tasks), size) if dynamic else size,
            len(self.devices),
            dynamic,
            bookkeeper.ledger.answered.next_missing,
        )
        self._suspects = Suspects(config.workers.max_attempts)
        self._searcher: Device | None = None  # takes only suspects while some are waiting
        self._attempts: Counter[int] = Counter()  # failed attempts of unanswered jobs
        self._refusals: Counter[int] = Counter()  # those of them that were refusals
        self._bell = bookkeeper.verdict_bell
        self._draining = False
        self._last_error: Exception | None = None  # of the most recently retired device

    async def run(self) -> None:
        """Return once every job is answered, or once drained.

        Raises DeviceError if no device is left, and errors of the context, in an ExceptionGroup.
        """
        async with asyncio.TaskGroup() as group:
            side_tasks = [group.create_task(self._drain_workers()), group.create_task(self._watch_fleet(group))]
            self._drivers = [group.create_task(self._drive(device)) for device in self.devices]
            while unfinished := [task for task in self._drivers if not task.done()]:
                await asyncio.wait(unfinished)
            for task in side_tasks:
                task.cancel()
        if not self._ended():
            raise DeviceError(f"no device is left ({self._last_error}); fix this, then repeat the command to resume")

    def drain(self) -> None:
        """Start no new batches; run() returns once the running ones are answered."""
        self._draining = True
        self._bell.ring()

    def _ended(self) -> bool:
        return self._draining or self._bookkeeper.all_answered()

    async def _until_ended(self) -> None:
        while not self._ended():
            await self._bell.wait()

    async def _drain_workers(self) -> None:
        while not self._draining:
            await self._bell.wait()
        await asyncio.gather(*(device.worker.drain() for device in self.devices))

    async def _watch_fleet(self, group: asyncio.TaskGroup) -> None:
        """Read the progress reports, and drive devices that join the fleet during the run."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for device in self.devices:
                device.capacity.update(device.worker.progress, device.jobs)
            self._bell.ring()
            for worker in self._fleet.workers[len(self.devices) :]:
                device = Device(len(self.devices), worker, self._backoff_s)
                self.devices.append(device)
                self._queues.add_device()
                self._drivers.append(group.create_task(self._drive(device)))
                log.info("%s: joined the run", worker.name)

    async def _drive(self, device: Device) -> None:
        """Keep one worker alive and busy until the run ends or the device is retired."""
        supervisor = device.supervisor
        while not self._ended():
            info = await self._unless_ended(supervisor.start())
            if supervisor.retired:
                self._queues.retire(device.number)
                self._last_error = supervisor.last_death
                self._bell.ring()
                return
            if info is not None:
                supervisor.life_began()
                device.death, device.victims = None, []
                self._context.replica_ready(device.worker.name, info)
                self._bookkeeper.begin()
                self._bell.ring()
                await self._serve(device, info)
        supervisor.state = "stopped"

    async def _unless_ended(self, starting: Coroutine[Any, Any, ReplicaInfo | None]) -> ReplicaInfo | None:
        """Wait for a replica to start; None if it cannot start or the run ends first."""
        tasks = [asyncio.create_task(starting), asyncio.create_task(self._until_ended())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            first = tasks[0]
            return first.result() if first.done() else None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, device: Device, info: ReplicaInfo) -> None:
        """Hand batches to a live worker until it dies or the run ends."""
        device.capacity = RowCapacity(info.rows, device.worker.progress)
        done_before, alone = device.done, False
        async with asyncio.TaskGroup() as batches:
            while not self._ended() and device.death is None:
                for k in self._bookkeeper.take_repairs():  # repairs precede queued batches
                    self._queues.give_back(k)
                may_take = self._has_room(device) and not self._searches(device, proven=device.done > done_before)
                taken = self._queues.take(device.number, self._may_steal(device)) if may_take else None
                alone = taken is None and not device.batches and (taken := self._suspects.take()) is not None
                if taken is None:
                    await self._bell.wait()
                    continue
                device.batches += 1
                device.jobs += len(taken)
                batch = batches.create_task(self._run_batch(device, taken, alone))
                if alone:
                    await asyncio.wait([batch])
        if self._searcher is device:
            self._searcher = None
        if device.death is not None:
            explained = self._bury(device, device.death, alone)
            weight = SUSPECTS_WEIGHT if explained else 1.0
            if alone and device.done:  # it has answered other jobs, so its suspects are the likelier cause
                weight = SUSPECTS_WEIGHT / 2
            device.supervisor.life_ended(device.done > done_before, weight)
            self._bell.ring()

    def _searches(self, device: Device, proven: bool) -> bool:
        """Whether a device takes no batches from the queues and runs only suspects, once it has nothing in flight.

        Only one device does so at a time. It must be `proven` to answer other jobs: a death then incriminates suspects.
        """
        if self._searcher in (None, device):
            self._searcher = device if proven and self._suspects.waiting else None
        return self._searcher is device

    def _bury(self, device: Device, death: WorkerDied, alone: bool) -> bool:
        """Requeue, suspect or fail the jobs in flight at a worker's death; return whether some are now suspects."""
        self._attempts.update(device.victims)
        again, failed = self._suspects.record_death(device.victims, alone)
        for k in again:
            self._queues.give_back(k)
        for k in failed:
            self._fail(k, str(death), device)
        is_single = len(device.victims) == 1 and not alone  # says as much against the worker as against the job
        return not is_single and len(again) + len(failed) < len(device.victims)

    def _has_room(self, device: Device) -> bool:
        """Whether a device may take another batch."""
        most = self._config.workers.max_in_flight
        return device.jobs < device.capacity.limit if most == "auto" else device.batches < most

    def _may_steal(self, device: Device) -> bool:
        """Whether a device may take jobs of others: it has free rows or, while others are loading, no jobs."""
        to_come = any(other.supervisor.state in ("waiting", "loading") for other in self.devices)
        return device.jobs < (1 if to_come else device.capacity.jobs)

    async def _run_batch(self, device: Device, jobs: Sequence[int], alone: bool) -> None:
        """Run one batch or a group of suspects. Unanswered jobs are retried or recorded as failed."""
        requests = [self._bookkeeper.request(k) for k in jobs]
        unanswered = dict(zip((request.job_id for request in requests), jobs, strict=True))
        try:
            async for answer in device.worker.generate(requests):
                k = unanswered.pop(answer.job_id)
                device.jobs -= 1
                if isinstance(answer, Refusal):
                    self._retry(k, answer, device)
                    continue
                device.done += 1
                batch_id, attempts = k // self._config.batch_size, self._attempts[k] + 1
                self._forget(k)
                recorded = self._bookkeeper.record_reply(answer, device.worker.name, batch_id, attempts)
                if recorded is not None:
                    await self._judges.add(*recorded)
        except WorkerDied as death:
            if device.death is None:
                device.supervisor.record_death(death)
                device.death = death
            # An endpoint probes its server itself, and refuses the jobs that break it: a lost server blames no job.
            if not isinstance(death, WorkerGone) and self._config.fleet != "endpoint":
                device.victims += unanswered.values()
            elif alone:
                self._suspects.put_back(jobs)
            else:
                for k in unanswered.values():
                    self._queues.give_back(k)
        finally:
            device.batches -= 1
            device.jobs -= len(unanswered)
            self._bell.ring()
        if self._config.verbose:
            log.info(
                "%s: batch %d, %d jobs answered",
                device.worker.name, jobs[0] // self._config.batch_size, len(jobs) - len(unanswered),
            )  # fmt: skip

    def _retry(self, k: int, refusal: Refusal, device: Device) -> None:
        """Requeue a refused job, or record it as failed after the last attempt."""
        self._attempts[k] += 1
        self._refusals[k] += 1
        if refusal.retry and self._refusals[k] < self._config.workers.max_attempts:
            self._queues.give_back(k)
        else:
            self._fail(k, refusal.reason, device)

    def _fail(self, k: int, reason: str, device: Device) -> None:
        attempts = self._attempts[k]
        self._forget(k)
        self._bookkeeper.fail(k, reason, attempts, device.worker.name)

    def _forget(self, k: int) -> None:
        """Delete the counts of a job that has been answered or has failed."""
        for counter in (self._attempts, self._refusals):
            counter.pop(k, None)
        self._suspects.clear(k)
