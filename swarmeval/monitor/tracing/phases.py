"""What a worker does from moment to moment: loads, reads prompts, decodes, waits. Costs nothing unless it is traced."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from swarmeval.monitor.tracing.spans import SpanFile, rss_mb

LOAD, PREFILL, DECODE, IDLE = "load", "prefill", "decode", "idle"
SLOT_NS = 50_000_000  # within it, time is added up by phase: never more than a span a phase and slot
FLUSH_NS = 1_000_000_000  # what a killed worker loses at most, and a span's length
LANE = "phases"


class Phases:
    """Receives what the worker does from now on. This one records nothing."""

    def enter(self, phase: str) -> None:
        """The phase before ends here."""

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Memory that is to be looked at where phases change."""

    def close(self) -> None:
        """The worker ends."""


class RecordedPhases(Phases):
    """Writes spans without a gap, the memory beside them. Loading has begun with the process."""

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
        self._spent_ns: dict[str, int] = {}  # in this slot, in the order of first appearance
        self._span: tuple[str, int, int] | None = None  # the last one: it may go on
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
        waits = self._phase == IDLE  # a worker is killed while it waits
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
    """When this process was started, on the clock that says `now_ns` now; true to a hundredth of a second."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return now_ns - max(0, int(age_s * 1e9))
