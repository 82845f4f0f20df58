"""Records the phases of a worker: load, prefill, decode and idle. Costs nothing unless the run is traced."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from swarmeval.monitor.tracing.spans import SpanFile, rss_mb

LOAD, PREFILL, DECODE, IDLE = "load", "prefill", "decode", "idle"
SLOT_NS = 50_000_000  # time is summed per phase within a slot, which gives at most one span per phase and slot
FLUSH_NS = 1_000_000_000  # limit on the length of a span and on the time that a killed worker loses
LANE = "phases"


class Phases:
    """Interface for recording phases. This implementation records nothing."""

    def enter(self, phase: str) -> None:
        """End the current phase and start the next."""

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Register a value, such as memory use, to read at the end of each span."""

    def close(self) -> None:
        """End the last phase."""


class RecordedPhases(Phases):
    """Writes contiguous spans with the values of the gauges. The load phase starts with the process."""

    def __init__(
        self, file: SpanFile, on_flush: Callable[[], None], clock: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        """`on_flush` is called about once a second of work."""
        self._file = file
        self._on_flush = on_flush
        self._clock = clock
        self._gauges: dict[str, Callable[[], float]] = {"rss_mb": rss_mb}
        self._phase = LOAD
        self._slot_ns = self._since_ns = process_began_ns(clock())
        self._spent_ns: dict[str, int] = {}  # in this slot, in order of first appearance
        self._span: tuple[str, int, int] | None = None  # the last span, which may be extended
        self._flushed_ns = self._slot_ns

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        self._gauges[name] = read

    def enter(self, phase: str) -> None:
        now = self._clock()
        if phase != self._phase or now - self._since_ns >= SLOT_NS:
            self._spent_ns[self._phase] = self._spent_ns.get(self._phase, 0) + now - self._since_ns
            self._phase, self._since_ns = phase, now
            if now - self._slot_ns >= SLOT_NS:
                self._end_slot(now)

    def close(self) -> None:
        now = self._clock()
        self._spent_ns[self._phase] = self._spent_ns.get(self._phase, 0) + now - self._since_ns
        self._end_slot(now)
        self._end_span()
        self._file.flush()

    def _end_slot(self, now: int) -> None:
        start = self._slot_ns
        for phase, spent_ns in self._spent_ns.items():
            self._add(phase, start, start + spent_ns)
            start += spent_ns
        self._spent_ns.clear()
        self._slot_ns = now
        waits = self._phase == IDLE  # workers are usually killed while idle
        if waits or now - self._flushed_ns >= FLUSH_NS:
            self._end_span()
            self._file.flush()
            self._flushed_ns = now
            self._on_flush()

    def _add(self, phase: str, start: int, end: int) -> None:
        if self._span is not None:
            name, began, ended = self._span
            if name == phase and ended == start:
                self._span = (name, began, end)
                return
            self._end_span()
        self._span = (phase, start, end)

    def _end_span(self) -> None:
        if self._span is not None:
            name, began, ended = self._span
            self._file.add(LANE, name, began, ended, **{gauge: read() for gauge, read in self._gauges.items()})
            self._span = None


def process_began_ns(now_ns: int) -> int:
    """Start time of this process, on the clock that reads `now_ns` now. Accurate to 10 ms."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return now_ns - max(0, int(age_s * 1e9))
