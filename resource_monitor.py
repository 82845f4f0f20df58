"""Samples machine, processes, GPUs and energy in the background, for two CSV files and the tracker.

Knows nothing about jobs, fleets and scores: callables provide the processes to watch and further columns.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from gpu_monitor import GpuMonitor, visible_to_process
from swarmeval.device_sample import DeviceSample
from swarmeval.monitor import host
from swarmeval.monitor.driver_thread import PATIENCE_S
from swarmeval.monitor.energy import EarlierEnergy, EnergyDrawn, Meter, Rapl, earlier
from swarmeval.monitor.processes import ProcessGroup, ThrottledReading, context_switches
from swarmeval.monitor.tracking.tracker import Tracker
from swarmeval.runs.csv_trace import GPUS, RESOURCES, Cell, CsvTrace, last_rows, number

TIME_COLUMNS = ("time", "elapsed_s")
PROCESS_COLUMNS = (
    "coordinator_cpu_pct", "coordinator_rss_mb", "coordinator_threads",
    "coordinator_ctx_voluntary", "coordinator_ctx_involuntary",
    "workers_cpu_pct", "workers_rss_mb", "workers_threads", "workers_ctx_voluntary", "workers_ctx_involuntary",
    "judges_cpu_pct", "judges_rss_mb", "judges_processes", "judges_ctx_voluntary", "judges_ctx_involuntary",
    "python_processes",
)  # fmt: skip
LIVE_COLUMNS = (
    "done_jobs", "total_jobs", "in_flight", "rows_in_use", "waiting_jobs", "judge_backlog",
    "jobs_per_s", "tokens_per_s", "computed_tokens_per_s", "pass_at_1",
)  # fmt: skip
RESOURCE_COLUMNS = (*TIME_COLUMNS, *host.COLUMNS, *PROCESS_COLUMNS, "loop_lag_ms", "rapl_j", *LIVE_COLUMNS)
GPU_FIELDS = (
    "utilization_pct", "memory_used_mb", "memory_total_mb", "temperature_c", "power_w", "power_limit_w",
    "sm_clock_mhz", "memory_clock_mhz", "throttle", "energy_mj", "processes", "process_memory_mb",
)  # fmt: skip
GPU_COLUMNS = (*TIME_COLUMNS, "index", "uuid", "name", *GPU_FIELDS)

USES = ("cpu_pct", "rss_mb", "processes", "threads", "ctx_voluntary", "ctx_involuntary")
METER_EVERY_S = 60.0  # longest time between energy readings, because counters of busy processors wrap within minutes
SHARE_OF_A_CORE = 0.003  # CPU limit per kind of reading; machines with hundreds of threads are sampled less often

log = logging.getLogger("swarmeval")

TraceRow = dict[str, Cell]


def no_pids() -> Iterable[int]:
    return ()


def ignore_gpus(gpus: Sequence[DeviceSample]) -> None:
    """Default for `on_gpus`: do nothing."""


class ResourceMonitor:
    """Samples every `interval_s` in its own thread, from start() to stop().

    `processes` returns the workers' PIDs by name, `judges` those of the processes that start judged programs, and
    `live` further numbers for the CSV row and the tracker. `on_gpus` is called with each GPU reading. All callbacks
    run in the monitor's thread. A failing disk, reading or callback does not end the run, and is logged once.
    """

    def __init__(
        self,
        folder: Path,
        interval_s: float,
        processes: Callable[[], Mapping[str, int]],
        tracker: Tracker,
        live: Callable[[], Mapping[str, Cell]],
        judges: Callable[[], Iterable[int]] = no_pids,
        on_gpus: Callable[[Sequence[DeviceSample]], None] = ignore_gpus,
        meter_every_s: float = METER_EVERY_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._folder = folder
        self._interval_s = interval_s
        self._tracker = tracker
        self._live = live
        self._on_gpus = on_gpus
        self._meter_every_s = meter_every_s
        self._patience_s = patience_s
        self._resources = CsvTrace(folder / RESOURCES, RESOURCE_COLUMNS)
        self._gpus = CsvTrace(folder / GPUS, GPU_COLUMNS)
        self._host = ThrottledReading(lambda: host.use(folder), SHARE_OF_A_CORE)
        self._processes = ThrottledReading(_RunProcesses(processes, judges).read, SHARE_OF_A_CORE)
        self._failed: set[str] = set()  # readings whose failure has been logged
        self._before_s = 0.0  # time sampled in earlier sessions
        self._began: float | None = None  # time of the first energy reading
        self._drawn = EnergyDrawn(None, {}), 0.0
        self._cpu_s = 0.0
        self._stopping = threading.Event()
        self._left_behind = False
        self._thread = threading.Thread(target=self._watch, name="resource-monitor", daemon=True)

    def start(self) -> None:
        self._before_s = _seconds_watched(self._folder / RESOURCES)
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and end the thread. A thread that hangs in a driver is abandoned. Idempotent."""
        if self._thread.ident is None or self._left_behind:
            return
        self._stopping.set()
        self._thread.join(self._patience_s)
        if self._thread.is_alive():
            self._left_behind = True
            log.warning(
                "monitor: no reading for %g s (hanging driver?); the run ends without the last sample",
                self._patience_s,
            )

    @property
    def elapsed_s(self) -> float:
        """The clock of the traces: sampled time over all sessions, without the pauses between them."""
        return self._before_s + (time.monotonic() - self._began if self._began is not None else 0.0)

    @property
    def drawn(self) -> tuple[EnergyDrawn, float]:
        """(energy of the run up to the last energy reading, elapsed_s of that reading)."""
        return self._drawn

    @property
    def cpu_s(self) -> float:
        """CPU time of the monitor itself, up to the last sample."""
        return self._cpu_s

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _watch(self) -> None:
        nvml = GpuMonitor()
        before = self._before()
        self._resources.open()
        self._gpus.open()
        self._attempt("host", self._host)  # a first reading, because CPU % is relative to the previous one
        self._attempt("processes", self._processes)
        meter, gpus = Meter(Rapl(), before), visible_to_process(nvml.read())
        due = self._began = time.monotonic()
        meter.read(gpus, self.elapsed_s)
        try:
            last = False
            while not last:  # at least one sample, even if stopped at once
                due = max(due + self._interval_s, time.monotonic())  # missed samples are skipped
                last = self._waited(due, lambda: self._read_meters(visible_to_process(nvml.read()), meter))
                self._sample(visible_to_process(nvml.read()), meter)
                self._cpu_s = time.thread_time()
        finally:
            self._resources.close()
            self._gpus.close()
            nvml.close()

    def _waited(self, due: float, read_meters: Callable[[], object]) -> bool:
        """Wait until a sample is due, reading the energy meters meanwhile. Returns True if the monitor is stopped."""
        while due - time.monotonic() > self._meter_every_s:
            if self._stopping.wait(self._meter_every_s):
                return True
            read_meters()
        return self._stopping.wait(max(0.0, due - time.monotonic()))

    def _read_meters(self, gpus: Sequence[DeviceSample], meter: Meter) -> tuple[EnergyDrawn, float]:
        elapsed_s = self.elapsed_s
        self._drawn = meter.read(gpus, elapsed_s), elapsed_s
        return self._drawn

    def _before(self) -> EarlierEnergy:
        """Energy of earlier sessions; unknown if their traces cannot be read."""
        try:
            return earlier(self._folder / RESOURCES, self._folder / GPUS)
        except OSError as error:
            log.warning("monitor: cannot read the energy of earlier sessions (%s); the run continues", error)
            return EarlierEnergy(None, None)

    def _sample(self, gpus: Sequence[DeviceSample], meter: Meter) -> None:
        drawn, elapsed_s = self._read_meters(gpus, meter)
        stamp: TraceRow = {
            "time": datetime.now(UTC).astimezone().isoformat(timespec="milliseconds"),
            "elapsed_s": elapsed_s,
        }
        live = self._attempt("live numbers", self._live)
        row = {**stamp, **self._attempt("host", self._host), **self._attempt("processes", self._processes), **live}
        row["rapl_j"] = drawn.rapl_j
        self._resources.append(row)
        for gpu in gpus:
            self._gpus.append({**stamp, **_gpu_row(gpu, drawn)})
        self._attempt("GPU memory", lambda: self._on_gpus(gpus))
        self._attempt("tracker", lambda: self._tracker.log(_numbers({**row, **_flat(gpus)})))

    def _attempt(self, reading: str, read: Callable[[], Mapping[str, Cell] | None]) -> Mapping[str, Cell]:
        """The result of `read`. If it fails, return {} and log one warning per kind of reading."""
        try:
            return read() or {}
        except Exception as error:  # callbacks may raise anything, and the monitor must not end the run
            if reading not in self._failed:
                self._failed.add(reading)
                log.info("monitor: %s:", reading, exc_info=True)  # traceback for run.log, in case it is a bug
                log.warning("monitor: cannot read %s (%s: %s); the run continues", reading, type(error).__name__, error)
            return {}


class _RunProcesses:
    """Measures the coordinator (this process), its workers and its judges."""

    def __init__(self, workers: Callable[[], Mapping[str, int]], judges: Callable[[], Iterable[int]]) -> None:
        self._worker_pids = workers
        self._judge_pids = judges
        self._coordinator, self._workers, self._judges = ProcessGroup(), ProcessGroup(), ProcessGroup(trees=True)

    def read(self) -> TraceRow:
        own = os.getpid()
        coordinator = self._coordinator.use([own])
        workers = self._workers.use({pid for pid in self._worker_pids().values() if pid != own})
        judges = self._judges.use(self._judge_pids())
        voluntary, involuntary = context_switches()  # includes threads that have ended
        return {
            "coordinator_cpu_pct": coordinator.cpu_pct,
            "coordinator_rss_mb": coordinator.rss_mb,
            "coordinator_threads": coordinator.threads,
            "coordinator_ctx_voluntary": voluntary,
            "coordinator_ctx_involuntary": involuntary,
            **{f"workers_{name}": getattr(workers, name) for name in USES if name != "processes"},
            **{f"judges_{name}": getattr(judges, name) for name in USES if name != "threads"},
            "python_processes": coordinator.processes + workers.processes + judges.processes,
        }


def _seconds_watched(trace: Path) -> float:
    """elapsed_s of the last row, from which the clock of a resumed run continues."""
    try:
        rows = last_rows(trace, 1)
    except OSError:
        return 0.0
    return (number(rows[0].get("elapsed_s")) if rows else None) or 0.0  # None for a damaged row


def _gpu_row(gpu: DeviceSample, drawn: EnergyDrawn) -> TraceRow:
    """The CSV row of one GPU, with its energy since the start of the run; None for a lost GPU."""
    joules = None if gpu.lost else drawn.gpus_j.get(gpu.uuid)
    fields = {name: getattr(gpu, name) for name in ("uuid", "name", *GPU_FIELDS)}
    return {"index": gpu.place, **fields, "energy_mj": None if joules is None else round(1000 * joules)}


def _flat(gpus: Iterable[DeviceSample]) -> TraceRow:
    """GPU fields for the tracker: {"gpu0/power_w": ...}."""
    return {f"gpu{gpu.place}/{name}": getattr(gpu, name) for gpu in gpus for name in GPU_FIELDS}


def _numbers(row: Mapping[str, Cell]) -> dict[str, float]:
    """The numeric values of a row."""
    return {name: value for name, value in row.items() if isinstance(value, float | int)}
