"""The background sampler: CPU, memory, disk, GPUs and processes -> two CSV files and the tracker.

The one home of psutil. Knows no job and no score: what else a tracker should see, `live` gives it.
"""

import logging
import os
import platform
import resource
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.records import DeviceSample
from gpu_monitor import GpuMonitor, list_devices, visible_here
from watch.csv_trace import GPUS, RESOURCES, Cell, CsvTrace, last_rows
from watch.tracking import Tracker

TIME_COLUMNS = ("time", "elapsed_s")
HOST_COLUMNS = ("cpu_pct", "load1", "ram_used_mb", "ram_total_mb", "swap_used_mb", "disk_free_mb")
COORDINATOR_COLUMNS = (
    "coordinator_cpu_pct", "coordinator_rss_mb", "coordinator_threads",
    "coordinator_ctx_voluntary", "coordinator_ctx_involuntary",
)  # fmt: skip
WORKERS_COLUMNS = ("workers_cpu_pct", "workers_rss_mb")
RESOURCE_COLUMNS = TIME_COLUMNS + HOST_COLUMNS + COORDINATOR_COLUMNS + WORKERS_COLUMNS
GPU_FIELDS = ("utilization_pct", "memory_used_mb", "memory_total_mb", "temperature_c", "power_w")
GPU_COLUMNS = (*TIME_COLUMNS, "index", "uuid", "name", *GPU_FIELDS)

MIB = 1024 * 1024

log = logging.getLogger("swarmeval")

Reading = dict[str, float]


def context_switches() -> tuple[int, int]:
    """(voluntary, involuntary) context switches of this process since it began, all its threads together.

    From getrusage: psutil reads /proc/<pid>/status, which counts the main thread alone.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nvcsw, usage.ru_nivcsw


def hardware() -> dict[str, object]:
    """What this machine is, for the manifest. Cores it cannot tell are None."""
    import psutil

    return {
        "cpu": _cpu_model(),
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(logical=True),
        "usable_cores": len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else None,
        "ram_mb": round(psutil.virtual_memory().total / MIB),
        "gpus": [
            {"index": gpu.index, "uuid": gpu.uuid, "name": gpu.name, "memory_total_mb": gpu.memory_total_mb}
            for gpu in list_devices()
        ],
        "platform": platform.platform(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class _Processes:
    """CPU and memory of some processes; CPU % counts from one reading to the next, 100 is one core."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}  # pid -> psutil.Process, kept because it remembers its last CPU times

    def sums(self, pids: Iterable[int]) -> tuple[float, float]:
        """CPU % and resident MiB together. A process that has ended adds nothing."""
        import psutil

        wanted = set(pids)
        self._known = {pid: process for pid, process in self._known.items() if pid in wanted}
        cpu_pct = rss_mb = 0.0
        for pid in wanted:
            try:
                process = self._known.get(pid) or self._known.setdefault(pid, psutil.Process(pid))
                with process.oneshot():
                    cpu_pct += process.cpu_percent()
                    rss_mb += process.memory_info().rss / MIB
            except psutil.NoSuchProcess:
                self._known.pop(pid, None)
        return cpu_pct, rss_mb


class ResourceMonitor:
    """Samples every `interval_s` in a thread of its own, from start() to stop().

    `processes` gives the workers' PIDs by name and `live` further numbers for the tracker; both are called in
    the monitor's thread. Nothing that fails here, disk, reading or callback, ends the run: it is logged once.
    """

    def __init__(
        self,
        folder: Path,
        interval_s: float,
        processes: Callable[[], Mapping[str, int]],
        tracker: Tracker,
        live: Callable[[], Mapping[str, float]],
    ) -> None:
        self._folder = folder
        self._interval_s = interval_s
        self._processes = processes
        self._tracker = tracker
        self._live = live
        self._resources = CsvTrace(folder / RESOURCES, RESOURCE_COLUMNS)
        self._gpus = CsvTrace(folder / GPUS, GPU_COLUMNS)
        self._coordinator = _Processes()
        self._workers = _Processes()
        self._failed: set[str] = set()  # what has been complained about
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="resource-monitor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and end the thread. Idempotent."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _watch(self) -> None:
        nvml = GpuMonitor()
        self._resources.open()
        self._gpus.open()
        self._tried("host", self._read_host)  # psutil counts CPU % from the reading before: this one begins it
        self._tried("processes", self._read_processes)
        before_s = _seconds_watched(self._folder / RESOURCES)
        began = time.monotonic()
        due = began
        try:
            last = False
            while not last:  # so that a run stopped at once has a sample too
                due = max(due + self._interval_s, time.monotonic())  # late samples are skipped, not made up
                last = self._stopping.wait(due - time.monotonic())
                self._sample(nvml, before_s + time.monotonic() - began)
        finally:
            self._resources.close()
            self._gpus.close()
            nvml.close()

    def _sample(self, nvml: GpuMonitor, elapsed_s: float) -> None:
        stamp: dict[str, Cell] = {
            "time": datetime.now(UTC).astimezone().isoformat(timespec="milliseconds"),
            "elapsed_s": elapsed_s,
        }
        reading = {**self._tried("host", self._read_host), **self._tried("processes", self._read_processes)}
        self._resources.append({**stamp, **reading})
        gpus = visible_here(nvml.read())
        for gpu in gpus:
            self._gpus.append({**stamp, **{column: getattr(gpu, column) for column in GPU_COLUMNS[2:]}})
        live = self._tried("live numbers", self._live)
        self._tried("tracker", lambda: self._tracker.log({"elapsed_s": elapsed_s, **reading, **_flat(gpus), **live}))

    def _read_host(self) -> Reading:
        import psutil

        memory = psutil.virtual_memory()
        return {
            "cpu_pct": psutil.cpu_percent(),
            "load1": os.getloadavg()[0],
            "ram_used_mb": (memory.total - memory.available) / MIB,
            "ram_total_mb": memory.total / MIB,
            "swap_used_mb": psutil.swap_memory().used / MIB,
            "disk_free_mb": psutil.disk_usage(str(self._folder)).free / MIB,
        }

    def _read_processes(self) -> Reading:
        import psutil

        own = os.getpid()
        cpu_pct, rss_mb = self._coordinator.sums([own])
        workers_cpu_pct, workers_rss_mb = self._workers.sums(pid for pid in self._processes().values() if pid != own)
        voluntary, involuntary = context_switches()
        return {
            "coordinator_cpu_pct": cpu_pct,
            "coordinator_rss_mb": rss_mb,
            "coordinator_threads": psutil.Process().num_threads(),
            "coordinator_ctx_voluntary": voluntary,
            "coordinator_ctx_involuntary": involuntary,
            "workers_cpu_pct": workers_cpu_pct,
            "workers_rss_mb": workers_rss_mb,
        }

    def _tried(self, what: str, read: Callable[[], Mapping[str, float] | None]) -> Mapping[str, float]:
        """What `read` gives; nothing, and one line in the log per kind of reading, when it fails."""
        try:
            return read() or {}
        except Exception as error:  # noqa: BLE001 (callbacks may raise anything, and a watcher must not end what it watches)
            if what not in self._failed:
                self._failed.add(what)
                log.warning("monitor: %s cannot be read, the run goes on (%s: %s)", what, type(error).__name__, error)
            return {}


def _seconds_watched(trace: Path) -> float:
    """elapsed_s of the last row: where a resumed run's clock goes on, the pause between sessions left out."""
    try:
        rows = last_rows(trace, 1)
        return float(rows[0]["elapsed_s"]) if rows else 0.0
    except (OSError, KeyError, ValueError):  # unreadable, a file of other columns, or a damaged one
        return 0.0


def _flat(gpus: Iterable[DeviceSample]) -> Reading:
    """{"gpu0/power_w": ...}: what a GPU does not tell is left out."""
    values = {f"gpu{gpu.index}/{name}": getattr(gpu, name) for gpu in gpus for name in GPU_FIELDS}
    return {name: value for name, value in values.items() if value is not None}
