"""Reduces the traces and events of a run to series for a page: throughput, utilisation, memory and power over time.

Reads the columns of a run's traces by name and omits unmeasured ones. The time axis excludes pauses, such as the gap
between an interruption and its resume.
"""

import math
import statistics
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import msgspec

from swarmeval.monitor.events import NAME as EVENTS
from swarmeval.runs.answer_index import Timings
from swarmeval.runs.csv_trace import GPUS, RESOURCES, number, rows

POINTS = 240  # per series
COARSER = 4  # answers/s averages over this many points: each answer ends at a single moment
MOST_EVENTS = 200
PEAKS = ("Memory", "GPU memory")  # panels that show the maximum of each interval, not the mean
GAP_S = 30.0  # a longer gap between samples is a pause of the run or of its machine
HOST = (  # panel, series, unit, column, factor
    ("Utilisation", "CPU", "%", "cpu_pct", 1.0),
    ("Memory", "machine", "GB", "ram_used_mb", 1 / 1024),
    ("Memory", "workers", "GB", "workers_rss_mb", 1 / 1024),
    ("Memory", "judges", "GB", "judges_rss_mb", 1 / 1024),
)
GPU = (
    ("Utilisation", "GPU", "%", "utilization_pct", 1.0),
    ("GPU memory", "GPU", "GB", "memory_used_mb", 1 / 1024),
    ("Power", "GPU", "W", "power_w", 1.0),
)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One line in a panel: pairs of (seconds into the run, value), in order."""

    panel: str
    name: str
    unit: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Event:
    at_s: float
    kind: str
    device: str
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    seconds: float
    series: tuple[Series, ...]
    events: tuple[Event, ...]
    events_in_all: int


def timeline(folder: Path, timings: Timings) -> Timeline:
    """Read the timeline of the run in a folder; empty if it left no traces. Raises OSError for an unreadable file."""
    host, gpus, events = _host(folder / RESOURCES), _gpus(folder / GPUS), _events(folder / EVENTS)
    clock = RunClock([at for points in host.values() for at, _ in points] + list(timings.finished_at))
    done = [*_throughput(timings, clock), *(_thinned(*key, points, clock) for key, points in (host | gpus).items())]
    shown = [Event(clock(event.time), event.kind, event.device, event.text) for event in events[:MOST_EVENTS]]
    series = tuple(line for line in done if len(line.points) > 1)
    return Timeline(clock.seconds, series, tuple(shown), len(events))


class _EventLine(msgspec.Struct):
    """A line of events.jsonl."""

    time: float
    kind: str = ""
    device: str = ""
    text: str = ""


class RunClock:
    """Converts Unix time to seconds into the run, pauses excluded."""

    def __init__(self, times: Iterable[float]) -> None:
        self._starts: list[float] = []  # of intervals without a pause
        self._before: list[float] = []  # seconds of the run before each interval
        ordered = sorted(set(times))
        steps = [b - a for a, b in pairwise(ordered)]
        longest = max(GAP_S, 20 * statistics.median(steps)) if steps else GAP_S
        self.seconds, last = 0.0, 0.0
        for at, step in zip(ordered, [math.inf, *steps], strict=False):
            if step > longest:
                self._end(last)
                self._starts.append(at)
                self._before.append(self.seconds)
            last = at
        self._end(last)

    def _end(self, last: float) -> None:
        """End the current interval at this time."""
        if self._starts:
            self.seconds = self._before[-1] + (last - self._starts[-1])

    def __call__(self, time: float) -> float:
        if not self._starts:
            return 0.0
        k = max(0, bisect_right(self._starts, time) - 1)
        end = self._before[k + 1] if k + 1 < len(self._before) else self.seconds
        return min(max(0.0, self._before[k] + (time - self._starts[k])), end)


SeriesKey = tuple[str, str, str]  # panel, series, unit


def _host(path: Path) -> dict[SeriesKey, list[Point]]:
    series: dict[SeriesKey, list[Point]] = {}
    joules: list[Point] = []
    for at, row in _rows(path):
        for panel, name, unit, column, factor in HOST:
            if (value := number(row.get(column))) is not None:
                series.setdefault((panel, name, unit), []).append((at, value * factor))
        if (value := number(row.get("rapl_j"))) is not None:
            joules.append((at, value))
    watts = [
        (at, (now - last) / (at - before))
        for (before, last), (at, now) in pairwise(joules)
        if at > before and now >= last
    ]
    return series | ({("Power", "CPU", "W"): watts} if watts else {})


def _gpus(path: Path) -> dict[SeriesKey, list[Point]]:
    series: dict[SeriesKey, list[Point]] = {}
    for at, row in _rows(path):
        for panel, name, unit, column, factor in GPU:
            if (value := number(row.get(column))) is not None:
                series.setdefault((panel, f"{name} {row.get('index', '')}", unit), []).append((at, value * factor))
    return series


def _throughput(timings: Timings, clock: RunClock) -> Iterator[Series]:
    """Answers and tokens per second. The tokens of an answer are spread evenly over its latency."""
    if not clock.seconds or not timings.finished_at:
        return
    width = clock.seconds / POINTS
    tokens, answers = [0.0] * POINTS, [0.0] * (POINTS // COARSER)
    share = timings.population / len(timings.finished_at)
    for end, took, count in zip(timings.finished_at, timings.latency_s, timings.output_tokens, strict=True):
        last = min(POINTS - 1, int(clock(end) / width))
        first = max(0, min(last, int((clock(end) - took) / width)))
        answers[last // COARSER] += share / width / COARSER
        for k in range(first, last + 1):
            tokens[k] += share * count / width / (last - first + 1)
    for panel, unit, values, wide in (
        ("Throughput", "tokens/s", tokens, width),
        ("Answers", "answers/s", answers, COARSER * width),
    ):
        yield Series(panel, unit, unit, tuple(((k + 0.5) * wide, value) for k, value in enumerate(values)))


def _thinned(panel: str, name: str, unit: str, points: Sequence[Point], clock: RunClock) -> Series:
    """Reduce a series to at most POINTS points: the mean or, in PEAKS, the maximum of each interval."""
    of: Callable[[list[float]], float] = max if panel in PEAKS else statistics.fmean
    size = math.ceil(len(points) / POINTS) or 1
    stretches = [points[k : k + size] for k in range(0, len(points), size)]
    return Series(panel, name, unit, tuple((clock(part[0][0]), of([value for _, value in part])) for part in stretches))


def _rows(path: Path) -> Iterator[tuple[float, dict[str, str]]]:
    """(Unix time, row) of every complete row; nothing if the file is missing."""
    for row in rows(path):
        try:
            yield datetime.fromisoformat(row["time"]).timestamp(), row
        except (KeyError, OverflowError, ValueError):
            continue  # a malformed row


def _events(path: Path) -> list[_EventLine]:
    events: list[_EventLine] = []
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    events.append(msgspec.json.decode(line, type=_EventLine))
                except (ValueError, RecursionError):
                    continue  # torn by a crash
    except FileNotFoundError:
        return []
    return sorted(events, key=lambda event: event.time)
