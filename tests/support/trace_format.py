"""Strict checks of a trace against the trace-event format and the requirements of Perfetto.

Source: Google's document "Trace Event Format". Perfetto drops an X event that begins within another one of its thread
and ends after it, even by a nanosecond (its statistic slice_drop_overlapping_complete_event). Spans must nest.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]

NAMING = {"process_name": "name", "thread_name": "name", "process_sort_index": "sort_index"}  # M events and their keys
TOP = {"traceEvents": list, "displayTimeUnit": str, "otherData": dict}


def faults(path: Path) -> list[str]:
    """The faults of a trace file, one line each."""

    def refused(constant: str) -> float:
        raise ValueError(f"{constant} is no JSON")

    try:
        picture = json.loads(path.read_text(encoding="ascii"), parse_constant=refused)
    except ValueError as error:
        return [f"not JSON: {error}"]
    if not isinstance(picture, dict) or any(not isinstance(picture.get(key), kind) for key, kind in TOP.items()):
        return [f"the whole is not an object of {', '.join(TOP)}"]
    problems = [] if picture["displayTimeUnit"] in ("ms", "ns") else ["displayTimeUnit is neither ms nor ns"]
    events = picture["traceEvents"]
    for number, event in enumerate(events):
        problems += [f"event {number}: {fault}" for fault in _event(event)]
    return problems or [*_names(events), *_nesting(events)]


def _event(event: object) -> Iterator[str]:
    """Faults of one event: keys, types, units."""
    if not isinstance(event, dict) or not isinstance(event.get("args"), dict):
        yield "is no object with args"
        return
    if not isinstance(event.get("name"), str) or not event["name"]:
        yield "has no name"
    for key in ("pid", "tid", "ts", "dur") if event.get("ph") == "X" else ("pid", "tid", "ts"):
        if type(event.get(key)) is not int or event[key] < 0:  # whole microseconds, whose sums are exact
            yield f"{key} is {event.get(key)!r}"
    of_kind = {"X": _span, "C": _counter, "M": _naming}.get(str(event.get("ph")))
    if of_kind is None:
        yield f"ph is {event.get('ph')!r}"
    elif not of_kind(event):
        yield f"is no whole {of_kind.__name__.removeprefix('_')}"


def _span(event: Event) -> bool:
    return isinstance(event.get("cat"), str)


def _counter(event: Event) -> bool:
    return bool(event["args"]) and all(type(value) in (int, float) for value in event["args"].values())


def _naming(event: Event) -> bool:
    key = NAMING.get(str(event.get("name")), "")
    return type(event["args"].get(key)) is (int if key == "sort_index" else str)


def _names(events: Iterable[Event]) -> Iterator[str]:
    """Processes, and threads with spans, that lack exactly one name event before their spans."""
    named: Counter[tuple[object, ...]] = Counter()
    for event in events:
        process, thread = (event["pid"],), (event["pid"], event["tid"])
        if event["name"] == "process_name":
            named[process] += 1
        elif event["name"] == "thread_name":
            named[thread] += 1
        for track in (process, thread) if event["ph"] == "X" else (process,):
            if named[track] != 1:
                yield f"track {track} has {named[track]} names where {event['name']} is told"


def _nesting(events: Iterable[Event]) -> Iterator[str]:
    """Spans of a thread that overlap without one containing the other."""
    threads: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            threads[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for thread, spans in threads.items():
        ends: list[int] = []
        for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            while ends and ends[-1] <= start:
                ends.pop()
            if ends and end > ends[-1]:
                yield f"thread {thread}: the span at {start} ends {end - ends[-1]} us behind the one that it began in"
            ends.append(end)
