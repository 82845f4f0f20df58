"""Memory of each device before and after its model was loaded and after inference, and the most that was seen.

A GPU's is what NVML says is used of it, by whomever; a CPU device's is what its worker process holds.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from swarmeval.monitor.processes import memory_mb
from swarmeval.records import DeviceSample

BEFORE_LOAD, AFTER_LOAD, AFTER_INFERENCE = "before_load_mb", "after_load_mb", "after_inference_mb"


@dataclass(frozen=True, slots=True)
class WatchedDevice:
    """A device of a run, and where its memory is read."""

    name: str
    uuids: tuple[str, ...] = ()  # of its GPUs; none: its worker's process


@dataclass(frozen=True, slots=True)
class MemoryReadings:
    """What one device held, in MiB; None where it was not seen."""

    of: str  # "gpu" or "process"
    before_load_mb: float | None = None
    after_load_mb: float | None = None
    after_inference_mb: float | None = None
    peak_mb: float | None = None


class DeviceMemory:
    """The snapshots of a session. Its methods may be called from any thread."""

    def __init__(self, devices: Sequence[WatchedDevice], processes: Callable[[], Mapping[str, int]]) -> None:
        """`processes` gives the workers' PIDs by device."""
        self._devices = {device.name: device for device in devices}
        self._processes = processes
        self._readings = {device.name: MemoryReadings("gpu" if device.uuids else "process") for device in devices}
        self._lock = threading.Lock()

    @property
    def readings(self) -> dict[str, MemoryReadings]:
        return dict(self._readings)

    def look(self, gpus: Iterable[DeviceSample]) -> None:
        """See whether a device holds more than ever before."""
        used = {gpu.uuid: gpu.memory_used_mb for gpu in gpus}
        for name in self._devices:
            self._note(name, *self._now(name, used))

    def snapshot(
        self, moment: str, gpus: Iterable[DeviceSample], names: Iterable[str] | None = None
    ) -> dict[str, float]:
        """Keep what devices, or those named, hold at a moment; gives what was found."""
        used = {gpu.uuid: gpu.memory_used_mb for gpu in gpus}
        by_device = {}
        for name in self._devices if names is None else names:
            if name not in self._devices:
                continue  # of another machine
            now, peak = self._now(name, used)
            self._note(name, now, peak, moment)
            if now is not None:
                by_device[name] = now
        return by_device

    def add_reported(self, name: str, moment: str, resident_mb: float | None) -> None:
        """Keep what a worker reports of its process; what a GPU holds is read elsewhere, as is another machine's."""
        if name in self._devices and not self._devices[name].uuids:
            self._note(name, resident_mb, None, moment)

    def _now(self, name: str, used: Mapping[str, float | None]) -> tuple[float | None, float | None]:
        """(what is held, the most that the process ever held) of a device."""
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
                readings = replace(readings, **{moment: now})  # type: ignore[arg-type]  # a name of one of its figures
            known = [mb for mb in (readings.peak_mb, now, peak) if mb is not None]
            self._readings[name] = replace(readings, peak_mb=max(known, default=None))
