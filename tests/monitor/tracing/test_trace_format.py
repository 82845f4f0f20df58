"""Claims about the trace checker: it finds everything that the format forbids or Perfetto drops."""

import json
from pathlib import Path

import pytest

from swarmeval.monitor.tracing.phases import LANE
from tests.support.trace_format import faults

NAMES = [
    {"name": "process_name", "ph": "M", "ts": 0, "pid": 1, "tid": 0, "args": {"name": "cpu_0"}},
    {"name": "thread_name", "ph": "M", "ts": 0, "pid": 1, "tid": 1, "args": {"name": LANE}},
]
SPAN = {"name": "load", "cat": "cpu_0", "ph": "X", "ts": 5, "dur": 5, "pid": 1, "tid": 1, "args": {}}
GAUGE = {"name": "rss_mb", "ph": "C", "ts": 5, "pid": 1, "tid": 0, "args": {"rss_mb": 1.5}}


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([*NAMES, SPAN, {**SPAN, "ts": 6, "dur": 4}, {**SPAN, "ts": 6, "dur": 1}, {**SPAN, "ts": 10}, GAUGE], []),
        ([*NAMES, SPAN, {**SPAN, "ts": 6}], ["thread (1, 1): the span at 6 ends 1 us behind the one that it began in"]),
        ([NAMES[0], SPAN], ["track (1, 1) has 0 names where load is told"]),
        ([NAMES[1], GAUGE], ["track (1,) has 0 names where thread_name is told",
                             "track (1,) has 0 names where rss_mb is told"]),
        ([*NAMES, {**SPAN, "ts": 5.5}], ["event 2: ts is 5.5"]),
        ([*NAMES, {**SPAN, "dur": -1}], ["event 2: dur is -1"]),
        ([*NAMES, {**SPAN, "pid": "1", "name": ""}], ["event 2: has no name", "event 2: pid is '1'"]),
        ([*NAMES, {**SPAN, "ph": "B"}], ["event 2: ph is 'B'"]),
        ([*NAMES, {**GAUGE, "args": {"rss_mb": None}}], ["event 2: is no whole counter"]),
        ([{**NAMES[0], "args": {}}], ["event 0: is no whole naming"]),
        ([{**GAUGE, "args": {"rss_mb": float("nan")}}], ["not JSON: NaN is no JSON"]),
    ],
)  # fmt: skip
def test_what_perfetto_would_not_take_is_found(tmp_path: Path, events: list[object], told: list[str]) -> None:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"displayTimeUnit": "ms", "traceEvents": events, "otherData": {}}))
    assert faults(path) == told
