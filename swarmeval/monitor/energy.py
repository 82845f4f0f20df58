"""Energy of GPUs and processor packages in joules, from counters or power readings. Starts no threads.

Energy is never estimated in any other way: without a counter or a power reading it is None.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from swarmeval.device_sample import DeviceSample
from swarmeval.runs.csv_trace import last_rows, number, rows

POWERCAP = Path("/sys/class/powercap")
LOOK_EVERY_S = 0.25  # interval of power readings while measuring the idle machine

NVML, RAPL = "nvml", "rapl"


@dataclass
class _Zone:
    """One of RAPL's microjoule counters, which wraps at its range."""

    counter: Path
    range_uj: int
    last_uj: int


class Rapl:
    """Energy of the processor packages and their memory, from Linux's powercap tree if it is readable."""

    def __init__(self, root: Path = POWERCAP) -> None:
        self._zones = [zone for folder in sorted(root.glob("intel-rapl:*")) if (zone := _zone(folder)) is not None]
        self._drawn_uj = 0

    def joules(self) -> float | None:
        """Joules since this object was created; None without readable counters.

        Call at least once a minute, because counters wrap.
        """
        if not self._zones:
            return None
        for zone in self._zones:
            try:
                now_uj = int(zone.counter.read_text())
            except (OSError, ValueError):
                continue  # the next reading includes the difference
            wrapped = zone.range_uj if now_uj < zone.last_uj else 0
            self._drawn_uj += now_uj + wrapped - zone.last_uj
            zone.last_uj = now_uj
        return self._drawn_uj / 1e6


def _zone(folder: Path) -> _Zone | None:
    """A counter to add up; None if it is unreadable, a part of a package, or the platform that includes packages."""
    try:
        name = (folder / "name").read_text().strip()
        if not name.startswith("package") and name != "dram":
            return None
        counter = folder / "energy_uj"
        return _Zone(counter, int((folder / "max_energy_range_uj").read_text()), int(counter.read_text()))
    except (OSError, ValueError):  # many kernels let only root read it, because of power side channels
        return None


class GpuJoules:
    """Energy per GPU, from its energy counter or, without one, from power times the time between samples."""

    def __init__(self, before: Mapping[str, float] | None = None) -> None:
        """`before` holds the joules per UUID to start from."""
        self._joules = dict(before or {})
        self._last: dict[str, tuple[float, DeviceSample]] = {}

    @property
    def joules(self) -> dict[str, float]:
        """Joules per UUID, for GPUs that report energy or power."""
        return dict(self._joules)

    def add(self, gpu: DeviceSample, at_s: float) -> None:
        """Add the energy since this GPU's previous sample, if it reports energy or power."""
        if gpu.energy_mj is None and gpu.power_w is None:
            return
        before = self._last.get(gpu.uuid)
        drawn = _between(*before, gpu, at_s) if before is not None else 0.0
        self._last[gpu.uuid] = (at_s, gpu)
        self._joules[gpu.uuid] = self._joules.get(gpu.uuid, 0.0) + drawn


def _between(before_s: float, before: DeviceSample, now: DeviceSample, now_s: float) -> float:
    if before.energy_mj is not None and now.energy_mj is not None:
        drawn = (now.energy_mj - before.energy_mj) / 1000
        return drawn if drawn >= 0 else now.energy_mj / 1000  # the driver was reloaded and counts from zero
    powers = [sample.power_w for sample in (before, now) if sample.power_w is not None]
    return sum(powers) / len(powers) * (now_s - before_s) if powers else 0.0


def idle_watts(seconds: float, gpus: Callable[[], Iterable[DeviceSample]], rapl: Rapl) -> dict[str, float]:
    """Measure the idle power per source in watts. Blocks for `seconds`; returns {} at once without sources."""
    began = time.monotonic()
    meter = Meter(rapl, EarlierEnergy())
    if not seconds or not meter.read(gpus(), 0.0).joules():
        return {}
    took_s = 0.0
    while took_s < seconds:
        time.sleep(min(LOOK_EVERY_S, seconds - took_s))
        took_s = time.monotonic() - began
        drawn = meter.read(gpus(), took_s)
    return {source: joules / took_s for source, joules in drawn.joules().items()}


def _difference(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before


@dataclass(frozen=True, slots=True)
class EarlierEnergy:
    """Energy of earlier sessions of a run, from their traces; None if those sessions did not record it."""

    rapl_j: float | None = 0.0
    gpus_j: Mapping[str, float] | None = field(default_factory=dict)  # per UUID


@dataclass(frozen=True, slots=True)
class EnergyDrawn:
    """Energy since the run began, without pauses between sessions. Unknown values are None or missing."""

    rapl_j: float | None
    gpus_j: dict[str, float]  # per UUID

    def joules(self) -> dict[str, float]:
        """Joules per source."""
        by_source = {NVML: sum(self.gpus_j.values())} if self.gpus_j else {}
        return by_source if self.rapl_j is None else {**by_source, RAPL: self.rapl_j}


class Meter:
    """Adds the energy of this session to that of earlier sessions."""

    def __init__(self, rapl: Rapl, before: EarlierEnergy) -> None:
        self._rapl = rapl
        self._before = before
        self._gpus = GpuJoules(before.gpus_j)
        self._first_j = rapl.joules()

    def read(self, gpus: Iterable[DeviceSample], at_s: float) -> EnergyDrawn:
        for gpu in gpus:
            if self._before.gpus_j is not None:
                self._gpus.add(gpu, at_s)
        session_j = _difference(self._rapl.joules(), self._first_j)
        before = self._before.rapl_j
        return EnergyDrawn(None if session_j is None or before is None else before + session_j, self._gpus.joules)


def earlier(resources: Path, gpus: Path) -> EarlierEnergy:
    """Read the energy of earlier sessions from the traces of a resumed run. Raises OSError."""
    last = last_rows(resources, 1)
    rapl_j = number(last[0].get("rapl_j")) if last else 0.0
    gpus_j: dict[str, float] = {}
    any_row = False
    for row in rows(gpus):
        any_row = True
        if (mj := number(row.get("energy_mj"))) is not None and row.get("uuid"):
            gpus_j[row["uuid"]] = mj / 1000
    return EarlierEnergy(rapl_j, gpus_j if gpus_j or not any_row else None)
