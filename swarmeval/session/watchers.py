"""Connects the monitor, events, memory and energy measurements to the fleet and session of a run."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

import msgspec

from gpu_monitor import GpuMonitor, list_devices, visible_to_process
from human_eval_runner import Judge
from resource_monitor import ResourceMonitor
from swarmeval.monitor.device_memory import AFTER_INFERENCE, AFTER_LOAD, BEFORE_LOAD, DeviceMemory, WatchedDevice
from swarmeval.monitor.driver_thread import PATIENCE_S, DriverThread
from swarmeval.monitor.energy import NVML, Rapl, idle_watts
from swarmeval.monitor.events import Events
from swarmeval.monitor.loop_lag import LoopLag
from swarmeval.monitor.tracking.tracker import Tracker
from swarmeval.records import Status
from swarmeval.requests import ReplicaInfo, Speculation
from swarmeval.runs.csv_trace import Cell
from swarmeval.runs.ledger import Ledger
from swarmeval.scores.energy import energy
from swarmeval.scores.speculation import speculation
from swarmeval.session.run_record import Record
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.devices import DeviceSpec
from swarmeval.workers.placement import placement_of
from swarmeval.workers.protocol import Fleet, Worker
from swarmeval.workers.speculation import plus

log = logging.getLogger("swarmeval")

MOMENTS = {BEFORE_LOAD: "before loading", AFTER_LOAD: "after loading", AFTER_INFERENCE: "after inference"}


@dataclass
class CoordinatorReadings:
    """Readings of the coordinator's own process, accessible from any thread."""

    lag: LoopLag = field(default_factory=LoopLag)
    judge: Judge | None = None

    def judge_pids(self) -> tuple[int, ...]:
        """The processes that start judged programs."""
        return () if self.judge is None else self.judge.pids()


class SessionWatchers:
    """The watchers of one session, active from entering the context until facts()."""

    def __init__(
        self, config: RunConfig, record: Record, fleet: Fleet, devices: Sequence[DeviceSpec], tracker: Tracker
    ) -> None:
        self.readings = CoordinatorReadings()
        self._config = config
        self._record = record
        self._status: Status | None = None
        self._began = 0.0  # monotonic time at the start of the monitor
        self._on_gpus = any(device.uuid for device in devices)
        self._has_local_devices = bool(devices)  # otherwise another machine draws the power
        self._driver_thread = DriverThread("device-memory")  # a single thread keeps the snapshots in order
        self.fleet = WatchedFleet(
            fleet, lambda: self._take_snapshot(BEFORE_LOAD), lambda: self._take_snapshot(AFTER_INFERENCE)
        )
        watched = [WatchedDevice(device.name, tuple(filter(None, device.uuid.split(",")))) for device in devices]

        def pids() -> dict[str, int]:
            return {worker.name: worker.pid for worker in fleet.workers if worker.pid is not None}

        self._pids = pids
        self._memory = DeviceMemory(watched, pids)
        self._monitor = ResourceMonitor(
            record.folder, config.monitor.interval_s, pids, tracker, self._live, self.readings.judge_pids,
            self._memory.look,
        )  # fmt: skip
        self._events = Events(record.folder, lambda: self._monitor.elapsed_s)

    def __enter__(self) -> Self:
        """Measure idle power, if the machine has a power meter, then start the monitor."""
        nvml = GpuMonitor()
        try:
            seconds = self._config.monitor.idle_baseline_s if self._has_local_devices else 0.0
            idle_w = idle_watts(seconds, lambda: visible_to_process(nvml.read()), Rapl())
        finally:
            nvml.close()
        before: Mapping[str, float] = self._record.manifest.get("idle_w", {})
        # Other processes may have drawn power during a baseline: the lowest of all sessions counts.
        self._record.note(
            idle_w={**before, **{key: min(watts, before.get(key, watts)) for key, watts in idle_w.items()}}
        )
        self._began = time.monotonic()
        self._monitor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def publish(self, status: Status) -> None:
        """Receive the status of the run, once per second."""
        self._status = status
        self._events.follow(status)

    def ready(self, device: str, info: ReplicaInfo) -> None:
        """Record that a replica has been loaded."""
        self._events.add("loaded", device, loaded_words(info, time.monotonic() - self._began))
        self._note_place(device)
        self._memory.add_reported(device, BEFORE_LOAD, info.before_load_mb)
        self._driver_thread.submit(partial(self._snapshot, AFTER_LOAD, [device]))

    def _note_place(self, device: str) -> None:
        """Record the actual cores and priority of a worker in the manifest."""
        pid = self._pids().get(device)
        place = None if pid is None else placement_of(pid)
        if place is not None:
            log.info("%s: on cores %s, nice %s", device, place["cores"], place["nice"])
            self._record.note(placement={**self._record.manifest.get("placement", {}), device: place})

    def end(self) -> None:
        """Stop watching and add the memory readings to the manifest. Idempotent."""
        self._stop()
        self._record.note(memory={name: asdict(readings) for name, readings in self._memory.readings.items()})

    def _stop(self) -> None:
        self._monitor.stop()
        self._driver_thread.close(PATIENCE_S)

    def drawn(self) -> tuple[dict[str, float], float]:
        """(joules of this run's devices by source, seconds watched) up to the last sample; empty without a meter."""
        drawn, watched_s = self._monitor.drawn
        joules = drawn.joules() if self._has_local_devices else {}
        if not self._on_gpus:
            joules.pop(NVML, None)  # this run uses no GPU
        return joules, watched_s

    def facts(self, ledger: Ledger) -> dict[str, object]:
        """Stop watching; return the entries of score.json about energy and speculative decoding."""
        self.end()
        drafts = self._drafts()
        if not self._has_local_devices:
            return drafts
        joules, watched_s = self.drawn()
        idle_w = self._record.manifest["idle_w"]
        figures = energy(
            joules, idle_w, watched_s, ledger.output_tokens, ledger.evaluations, ledger.counts(), ledger.computed_tokens
        )
        return drafts if figures is None else {**drafts, "energy": figures}

    def _drafts(self) -> dict[str, object]:
        """The entry of score.json about speculative decoding, of all sessions; empty if nothing was drafted."""
        before = self._record.manifest.get("speculation")
        total = Speculation(**before) if before else None
        for worker in self.fleet.workers:
            total = plus(total, worker.progress.speculation)
        if total is None or not total.verifications:
            return {}
        counts = msgspec.structs.asdict(total)
        self._record.note(speculation=counts)
        return {"speculation": speculation(**counts)}

    def _take_snapshot(self, moment: str) -> None:
        """Take a snapshot of all devices, after those already queued, and wait for it."""
        try:
            self._driver_thread.submit(partial(self._snapshot, moment)).result(PATIENCE_S)
        except TimeoutError:
            log.warning("memory %s: the driver does not respond; the run continues", MOMENTS[moment])

    def _snapshot(self, moment: str, names: Sequence[str] | None = None) -> None:
        by_device = self._memory.snapshot(moment, list_devices() if self._on_gpus else (), names)
        for device, mb in by_device.items():
            self._events.add("memory", device, f"{MOMENTS[moment]} {mb:,.0f} MiB")

    def _live(self) -> dict[str, Cell]:
        """The cells of the monitor's rows that describe the run. Called from the monitor's thread."""
        late_ms, status = self.readings.lag.take(), self._status
        if status is None:
            return {"loop_lag_ms": late_ms}
        in_flight = sum(worker.in_flight for worker in status.workers)
        return {
            "loop_lag_ms": late_ms,
            "done_jobs": status.done_jobs,
            "total_jobs": status.total_jobs,
            "failures": status.failures,
            "judged": status.judged,
            "in_flight": in_flight,
            "rows_in_use": sum(worker.rows_in_use for worker in status.workers),
            "waiting_jobs": max(0, status.total_jobs - status.done_jobs - in_flight),
            "judge_backlog": status.done_jobs - status.failures - status.judged,
            "jobs_per_s": status.jobs_per_s,
            "tokens_per_s": status.tokens_per_s,
            "computed_tokens_per_s": status.computed_tokens_per_s,
            "pass_at_1": status.pass_at_1,
        }


def loaded_words(info: ReplicaInfo, ready_s: float) -> str:
    """Describe a loaded replica and its load time."""
    took = {"hf": "weights loaded in", "vllm": "vLLM started in", "endpoint": "connected to the server in"}
    words = f"{took[info.engine]} {info.load_s:.1f} s, " if info.engine in took else ""
    return f"{info.weights}, {info.rows} rows; {words}ready {ready_s:.1f} s into the session"


class WatchedFleet:
    """A fleet that calls a function before it starts and another before it stops."""

    def __init__(self, fleet: Fleet, before: Callable[[], None], after: Callable[[], None]) -> None:
        """`before` and `after` may block: they run in a thread. `after` is skipped if the fleet's block failed."""
        self._fleet = fleet
        self._before = before
        self._after = after

    @property
    def workers(self) -> Sequence[Worker]:
        return self._fleet.workers

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._before)
        await self._fleet.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await asyncio.to_thread(self._after)
        finally:
            await self._fleet.__aexit__(kind, error, trace)
