"""Memory of each device before and after loading the model and after inference, and its peak.

For a GPU this is the memory in use by all processes, from NVML; for a CPU device it is that of its worker process.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from swarmeval.device_sample import DeviceSample
from swarmeval.monitor.processes import memory_mb

BEFORE_LOAD, AFTER_LOAD, AFTER_INFERENCE = "before_load_mb", "after_load_mb", "after_inference_mb"


@dataclass(frozen=True, slots=True)
class WatchedDevice:
    """A device of a run, and the source of its memory readings."""

    name: str
    uuids: tuple[str, ...] = ()  # UUIDs of its GPUs; if empty, its worker process is measured


@dataclass(frozen=True, slots=True)
class MemoryReadings:
    """Memory readings of one device in MiB; None if not measured."""

    of: str  # "gpu" or "process"
    before_load_mb: float | None = None
    after_load_mb: float | None = None
    after_inference_mb: float | None = None
    peak_mb: float | None = None


class DeviceMemory:
    """Memory snapshots of a session. All methods are thread-safe."""

    def __init__(self, devices: Sequence[WatchedDevice], processes: Callable[[], Mapping[str, int]]) -> None:
        """`processes` returns the workers' PIDs per device."""
        self._devices = {device.name: device for device in devices}
        self._processes = processes
        self._readings = {device.name: MemoryReadings("gpu" if device.uuids else "process") for device in devices}
        self._lock = threading.Lock()

    @property
    def readings(self) -> dict[str, MemoryReadings]:
        return dict(self._readings)

    def look(self, gpus: Iterable[DeviceSample]) -> None:
        """Update the peaks."""
        used = {gpu.uuid: gpu.memory_used_mb for gpu in gpus}
        for name in self._devices:
            self._note(name, *self._now(name, used))

    def snapshot(
        self, moment: str, gpus: Iterable[DeviceSample], names: Iterable[str] | None = None
    ) -> dict[str, float]:
        """Record the memory of all devices, or of `names`, at a moment; return the values found."""
        used = {gpu.uuid: gpu.memory_used_mb for gpu in gpus}
        by_device = {}
        for name in self._devices if names is None else names:
            if name not in self._devices:
                continue  # a device of another machine
            now, peak = self._now(name, used)
            self._note(name, now, peak, moment)
            if now is not None:
                by_device[name] = now
        return by_device

    def add_reported(self, name: str, moment: str, resident_mb: float | None) -> None:
        """Record the process memory that a worker reports. Ignored for GPUs, and for devices of other machines."""
        if name in self._devices and not self._devices[name].uuids:
            self._note(name, resident_mb, None, moment)

    def _now(self, name: str, used: Mapping[str, float | None]) -> tuple[float | None, float | None]:
        """(current, peak) memory of a device. The peak is known only for processes."""
        uuids = self._devices[name].uuids
        if uuids:
            known = [mb for uuid in uuids if (mb := used.get(uuid)) is not None]
            return (sum(known) if len(known) == len(uuids) else None), None
        pid = self._processes().get(name)
        return (pid is not None and memory_mb(pid)) or (None, None)

    def _note(self, name: str, now: float | None, peak: float | None, moment: str | None = None) -> None:
        with self._lock:
            readings = self._readings[name]
            if moment is not None and now is not None:
                readings = replace(readings, **{moment: now})  # type: ignore[arg-type]  # moment is a field name
            known = [mb for mb in (readings.peak_mb, now, peak) if mb is not None]
            self._readings[name] = replace(readings, peak_mb=max(known, default=None))
