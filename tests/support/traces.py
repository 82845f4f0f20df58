"""Reads the trace of a run for tests, and provides a clock for tracers."""

import itertools
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.support.trace_format import faults


class Clock:
    """A clock that advances only when the test sets it."""

    def __init__(self) -> None:
        self.now_ns = time.perf_counter_ns()

    def __call__(self) -> int:
        return self.now_ns


def checked_trace(folder: Path) -> dict[str, Any]:
    """The contents of trace.json, after a check that its format is valid and no spans of a lane overlap."""
    assert faults(folder / "trace.json") == []
    picture: dict[str, Any] = json.loads((folder / "trace.json").read_text())
    for track in lanes(picture).values():
        for before, after in itertools.pairwise(sorted(track, key=lambda event: event["ts"])):
            assert before["ts"] + before["dur"] <= after["ts"]
    return picture


def lanes(picture: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(process, lane) -> its spans."""
    events = picture["traceEvents"]
    processes = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    names = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
    tracks = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            tracks[processes[event["pid"]], names[event["pid"], event["tid"]]].append(event)
    return tracks
