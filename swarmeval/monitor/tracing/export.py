"""Traces a run: exports the spans of its processes to trace.json, and writes the coordinator's flame graph.

trace.json opens in chrome://tracing and in Perfetto. Workers write their own spans (phases.py); this module writes
those of the judges. The export can be repeated from the spans on disk at any time. Independent of models and sandbox.
"""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from swarmeval.errors import OutputError
from swarmeval.files import replaced
from swarmeval.monitor.tracing.flame import Flame, flame_path
from swarmeval.monitor.tracing.spans import SpanFile, rss_mb, span_files, spans, spans_path

NAME = "trace.json"
COORDINATOR = "coordinator"
JOIN_NS, JOINED_NS = 5_000_000, 50_000_000  # spans on a lane closer than the first are merged, up to the second
FLUSH_NS = 1_000_000_000
PAUSE_US = 1e6  # gap drawn between two sessions

log = logging.getLogger("swarmeval")

TraceEvent = dict[str, Any]


class Tracer:
    """Traces one session in the coordinator. Writes trace.json at the end, also after an error."""

    def __init__(self, folder: Path, session: int, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self.folder = folder.resolve()
        self.session = session
        self._clock = clock
        self.origin_ns = clock()
        self._file = SpanFile(spans_path(self.folder, COORDINATOR), session, self.origin_ns)
        self._lanes: dict[str, list[_Span | None]] = defaultdict(list)
        self._flushed_ns = self.origin_ns
        self._flame: Flame | None = None

    def __enter__(self) -> Self:
        self._file.flush()
        write(self.folder)  # earlier sessions, so that a complete file exists even if this one is killed
        self._flame = Flame(flame_path(self.folder, COORDINATOR, self.session))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_all()
        if self._flame is not None:
            self._flame.write()
        write(self.folder)

    def judged(self, kind: str, took_s: float) -> None:
        """Record an activity that has just ended. Concurrent activities are drawn on separate lanes."""
        end_ns = self._clock()
        start_ns = end_ns - int(took_s * 1e9)
        lanes = self._lanes[kind]
        number = next((n for n, last in enumerate(lanes) if last is None or last.end_ns <= start_ns), len(lanes))
        if number == len(lanes):
            lanes.append(None)
        last = lanes[number]
        if last is not None and last.goes_on(start_ns, end_ns):
            last.end_ns, last.count, last.worked_ns = end_ns, last.count + 1, last.worked_ns + end_ns - start_ns
        else:
            self._end(last)
            lanes[number] = _Span(f"{kind} {number + 1}", kind, start_ns, end_ns)
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Write recorded spans to disk once a second, so that a kill loses little. Call it often."""
        now_ns = self._clock()
        if now_ns - self._flushed_ns >= FLUSH_NS:
            self._flushed_ns = now_ns
            self._end_all()
            if self._flame is not None:
                self._flame.stop_if_due()

    def _end_all(self) -> None:
        for lanes in self._lanes.values():
            for lane in lanes:
                self._end(lane)
        self._file.flush()

    def _end(self, span: "_Span | None") -> None:
        if span is not None and not span.is_written:
            facts = {"count": span.count, "worked_us": round(span.worked_ns / 1000, 1), "rss_mb": rss_mb()}
            self._file.add(span.lane, span.name, span.start_ns, span.end_ns, **facts)
            span.is_written = True


class _Span:
    """The last span of a lane. Spans that follow closely are merged into it until it is written."""

    def __init__(self, lane: str, name: str, start_ns: int, end_ns: int) -> None:
        self.lane = lane
        self.name = name
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.count = 1
        self.worked_ns = end_ns - start_ns  # without the gaps between merged spans
        self.is_written = False

    def goes_on(self, start_ns: int, end_ns: int) -> bool:
        """Whether a span with these times is merged into this one."""
        return not self.is_written and start_ns - self.end_ns < JOIN_NS and end_ns - self.start_ns < JOINED_NS


class _Superseded(Exception):
    """Another process replaced trace.json in the meantime."""


def write(folder: Path) -> None:
    """Like `make`, but logs errors instead of raising them. For use during a run."""
    try:
        make(folder)
    except OutputError as error:
        log.warning("%s: not written (%s); the run continues", folder / NAME, error)


def make(folder: Path) -> Path | None:
    """Write trace.json from the spans on disk of all sessions, including killed ones.

    Returns its path; None if nothing was traced. Raises OutputError.
    """
    path = folder / NAME
    while span_files(folder):
        before = _mark(path)
        try:
            with replaced(path) as file:
                _fill(file, folder)
                if _mark(path) != before:
                    raise _Superseded
            return path
        except _Superseded:  # the other process may have exported spans that we have not read
            continue
    return None


def _mark(path: Path) -> tuple[int, int] | None:
    """Identity of a file, which changes if the file is replaced."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def _fill(file: TextIO, folder: Path) -> None:
    file.write('{"displayTimeUnit": "ms", "traceEvents": [\n')
    totals: Totals = {}
    for number, event in enumerate(events(folder, totals)):
        file.write((",\n" if number else "") + json.dumps(event))
    file.write(f'\n], "otherData": {json.dumps({"phases": totals})}}}\n')


Totals = dict[str, dict[str, dict[str, float]]]  # process -> phase -> seconds, spans, peak memory


def events(folder: Path, totals: Totals) -> Iterator[TraceEvent]:
    """Yield the trace events of a folder's spans, process by process, and add their sums to `totals`."""
    paths = sorted(span_files(folder), key=lambda path: (COORDINATOR not in path.name, path.name))
    begins_us = _beginnings(paths)
    for pid, path in enumerate(paths, 1):
        process = path.stem.removeprefix("trace_")
        yield _meta("process_name", pid, 0, name=process)
        yield _meta("process_sort_index", pid, 0, sort_index=pid)
        tids: dict[str, int] = {}
        for span in spans(path):
            if span["session"] not in begins_us:
                continue  # the session started after _beginnings() read the files
            lane, name = str(span["lane"]), str(span["name"])
            if lane not in tids:
                tids[lane] = len(tids) + 1
                yield _meta("thread_name", pid, tids[lane], name=lane)
            # Whole microseconds, because rounding errors of fractions make spans overlap, and Perfetto drops a span
            # that starts even a nanosecond before the previous one ends.
            start_us, end_us = (round(begins_us[span["session"]] + span[key]) for key in ("start_us", "end_us"))
            numbers = {key: value for key, value in span.items() if isinstance(value, int | float)}
            gauges = {key: value for key, value in numbers.items() if key.endswith("_mb")}
            facts = {"session": span["session"]} | {
                key: numbers[key] for key in ("count", "worked_us") if key in numbers
            }
            yield {
                "name": name, "cat": process, "ph": "X", "ts": start_us, "dur": end_us - start_us,
                "pid": pid, "tid": tids[lane], "args": facts | gauges,
            }  # fmt: skip
            for gauge, value in gauges.items():
                yield {"name": gauge, "ph": "C", "ts": end_us, "pid": pid, "tid": 0, "args": {gauge: value}}
            worked_us = numbers.get("worked_us", span["end_us"] - span["start_us"])
            _enter(totals.setdefault(process, {}).setdefault(name, {}), worked_us / 1e6, gauges)


def _enter(total: dict[str, float], seconds: float, gauges: dict[str, float]) -> None:
    total["seconds"] = round(total.get("seconds", 0.0) + seconds, 6)
    total["spans"] = total.get("spans", 0) + 1
    for gauge, value in gauges.items():
        total[f"peak_{gauge}"] = max(total.get(f"peak_{gauge}", 0.0), value)


def _beginnings(paths: list[Path]) -> dict[int, float]:
    """Start time of each session in the trace: its first span follows the previous session after a gap."""
    firsts: dict[int, float] = {}
    lasts: dict[int, float] = {}
    for path in paths:
        for span in spans(path):
            session = span["session"]
            firsts[session] = min(firsts.get(session, 0.0), span["start_us"])
            lasts[session] = max(lasts.get(session, 0.0), span["end_us"])
    begins: dict[int, float] = {}
    now_us = 0.0
    for session in sorted(firsts):
        begins[session] = now_us - firsts[session]
        now_us = begins[session] + lasts[session] + PAUSE_US
    return begins


def _meta(kind: str, pid: int, tid: int, **arguments: object) -> TraceEvent:
    return {"name": kind, "ph": "M", "ts": 0, "pid": pid, "tid": tid, "args": arguments}
