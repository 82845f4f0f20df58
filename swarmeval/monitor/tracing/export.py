"""Where the time of a run goes: the spans of its processes as a Chrome trace, a flame graph of each.

trace.json opens in chrome://tracing and in Perfetto. The workers write their own spans (phases.py); those of the judges
are written here. It can be made of the spans on disk at any time. Knows no model and no sandbox.
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
JOIN_NS, JOINED_NS = 5_000_000, 50_000_000  # spans of a lane so close become one, up to so long
FLUSH_NS = 1_000_000_000
PAUSE_US = 1e6  # between two sessions, as it is drawn: nobody worked then

log = logging.getLogger("swarmeval")

TraceEvent = dict[str, Any]


class Tracer:
    """One session of a traced run, as the coordinator sees it; leaves trace.json behind, whatever ends it."""

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
        write(self.folder)  # of the sessions before: should this one be killed, there is a whole file
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
        """Something ended just now. What goes on at the same time is drawn on lanes beside each other."""
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
        """Leave on disk what was seen, once a second: no more is lost with a killed process. To be called often."""
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
    """The last of a lane: what follows at once is joined to it, until it is written."""

    def __init__(self, lane: str, name: str, start_ns: int, end_ns: int) -> None:
        self.lane = lane
        self.name = name
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.count = 1
        self.worked_ns = end_ns - start_ns  # without the gaps that joining closes
        self.is_written = False

    def goes_on(self, start_ns: int, end_ns: int) -> bool:
        """Whether what began and ended then is joined to it."""
        return not self.is_written and start_ns - self.end_ns < JOIN_NS and end_ns - self.start_ns < JOINED_NS


class _Superseded(Exception):
    """Somebody else replaced trace.json in the meantime."""


def write(folder: Path) -> None:
    """As `make`, within a run: what cannot be written is logged."""
    try:
        make(folder)
    except OutputError as error:
        log.warning("%s: is not written, the run goes on (%s)", folder / NAME, error)


def make(folder: Path) -> Path | None:
    """trace.json of all sessions, those that were killed among them, as far as their spans are on disk.

    Gives its path; None where nothing was traced. Raises OutputError.
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
        except _Superseded:  # a run that ends has spans that a report beside it, begun before, has not seen
            continue
    return None


def _mark(path: Path) -> tuple[int, int] | None:
    """What tells a file from one that takes its place."""
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
    """The events of a folder's spans, process by process; what they come to is entered into `totals`."""
    paths = sorted(span_files(folder), key=lambda path: (COORDINATOR not in path.name, path.name))
    begins_us = _beginnings(paths)
    for pid, path in enumerate(paths, 1):
        process = path.stem.removeprefix("trace_")
        yield _meta("process_name", pid, 0, name=process)
        yield _meta("process_sort_index", pid, 0, sort_index=pid)
        tids: dict[str, int] = {}
        for span in spans(path):
            if span["session"] not in begins_us:
                continue  # it began after the first look
            lane, name = str(span["lane"]), str(span["name"])
            if lane not in tids:
                tids[lane] = len(tids) + 1
                yield _meta("thread_name", pid, tids[lane], name=lane)
            # Whole microseconds: Perfetto drops a span that begins a nanosecond before the one ahead of it ends, and
            # sums of fractions do not meet.
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
    """When each session begins in the picture: a pause after the one before, its earliest span at its beginning."""
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
