"""All that looks at a run while it goes on: monitor, events, memory, energy. Wires them to fleet and session."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

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
from swarmeval.requests import ReplicaInfo
from swarmeval.runs.csv_trace import Cell
from swarmeval.runs.ledger import Ledger
from swarmeval.scores.energy import energy
from swarmeval.session.run_record import Record
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.devices import DeviceSpec
from swarmeval.workers.placement import placement_of
from swarmeval.workers.protocol import Fleet, Worker

log = logging.getLogger("swarmeval")

MOMENTS = {BEFORE_LOAD: "before loading", AFTER_LOAD: "after loading", AFTER_INFERENCE: "after inference"}


@dataclass
class CoordinatorReadings:
    """What the watchers read of the coordinator's own process, from any thread."""

    lag: LoopLag = field(default_factory=LoopLag)
    judge: Judge | None = None

    def judge_pids(self) -> tuple[int, ...]:
        """The processes that start judged programs."""
        return () if self.judge is None else self.judge.pids()


class SessionWatchers:
    """The watchers of one session, from the moment its context is entered to facts()."""

    def __init__(
        self, config: RunConfig, record: Record, fleet: Fleet, devices: Sequence[DeviceSpec], tracker: Tracker
    ) -> None:
        self.readings = CoordinatorReadings()
        self._config = config
        self._record = record
        self._status: Status | None = None
        self._began = 0.0  # when the monitor was started, by the monotonic clock
        self._on_gpus = any(device.uuid for device in devices)
        self._has_local_devices = bool(devices)  # or what draws the power is another machine
        self._driver_thread = DriverThread(
            "device-memory"
        )  # in one thread moments are noted in the order in which they came
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
        """Watch the idle machine for a while, where it tells what it draws, and then the run."""
        nvml = GpuMonitor()
        try:
            seconds = self._config.monitor.idle_baseline_s if self._has_local_devices else 0.0
            idle_w = idle_watts(seconds, lambda: visible_to_process(nvml.read()), Rapl())
        finally:
            nvml.close()
        before: Mapping[str, float] = self._record.manifest.get("idle_w", {})
        # What was drawn beside other work is no baseline: of several sessions the lowest counts.
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
        """The run's state, each second."""
        self._status = status
        self._events.follow(status)

    def ready(self, device: str, info: ReplicaInfo) -> None:
        """A replica is loaded."""
        self._events.add("loaded", device, loaded_words(info, time.monotonic() - self._began))
        self._note_place(device)
        self._memory.add_reported(device, BEFORE_LOAD, info.before_load_mb)
        self._driver_thread.submit(partial(self._snapshot, AFTER_LOAD, [device]))

    def _note_place(self, device: str) -> None:
        """Into the manifest: the cores and the priority that a worker really has."""
        pid = self._pids().get(device)
        place = None if pid is None else placement_of(pid)
        if place is not None:
            log.info("%s: on cores %s, nice %s", device, place["cores"], place["nice"])
            self._record.note(placement={**self._record.manifest.get("placement", {}), device: place})

    def end(self) -> None:
        """Watch no more, and add to the manifest what was seen of memory. Idempotent."""
        self._stop()
        self._record.note(memory={name: asdict(readings) for name, readings in self._memory.readings.items()})

    def _stop(self) -> None:
        self._monitor.stop()
        self._driver_thread.close()

    def drawn(self) -> tuple[dict[str, float], float]:
        """(joules by source of what this run uses, seconds watched) up to the last sample; empty: nothing tells."""
        drawn, watched_s = self._monitor.drawn
        joules = drawn.joules() if self._has_local_devices else {}
        if not self._on_gpus:
            joules.pop(NVML, None)  # of GPUs that this run did not use
        return joules, watched_s

    def facts(self, ledger: Ledger) -> dict[str, object]:
        """End the watching; gives what score.json says of energy."""
        self.end()
        if not self._has_local_devices:
            return {}
        joules, watched_s = self.drawn()
        idle_w = self._record.manifest["idle_w"]
        figures = energy(joules, idle_w, watched_s, ledger.output_tokens, ledger.evaluations, ledger.counts())
        return {} if figures is None else {"energy": figures}

    def _take_snapshot(self, moment: str) -> None:
        """Take a snapshot of all devices, after those that were asked for before, and wait for it."""
        try:
            self._driver_thread.submit(partial(self._snapshot, moment)).result(PATIENCE_S)
        except TimeoutError:
            log.warning("memory %s: the driver does not answer, the run goes on", MOMENTS[moment])

    def _snapshot(self, moment: str, names: Sequence[str] | None = None) -> None:
        by_device = self._memory.snapshot(moment, list_devices() if self._on_gpus else (), names)
        for device, mb in by_device.items():
            self._events.add("memory", device, f"{MOMENTS[moment]} {mb:,.0f} MiB")

    def _live(self) -> dict[str, Cell]:
        """What the monitor's rows say of the run; called from its thread."""
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
            "pass_at_1": status.pass_at_1,
        }


def loaded_words(info: ReplicaInfo, ready_s: float) -> str:
    """What was loaded, how long what is named took, and when the replica could answer."""
    took = {"hf": "weights loaded in", "vllm": "vLLM started in", "endpoint": "the server was asked for"}
    words = f"{took[info.engine]} {info.load_s:.1f} s, " if info.engine in took else ""
    return f"{info.weights}, {info.rows} rows; {words}ready {ready_s:.1f} s into the session"


class WatchedFleet:
    """A fleet, with a look at its devices before it is started and before it is stopped."""

    def __init__(self, fleet: Fleet, before: Callable[[], None], after: Callable[[], None]) -> None:
        """`before` and `after` may take long and are called in a thread; after a failure nobody looks."""
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
