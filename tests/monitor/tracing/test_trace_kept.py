"""Claims about the trace of a killed run: all spans on disk are kept, and nearly all spans are on disk."""

import argparse
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path, PosixPath
from typing import Self

import pytest

from swarmeval.commands.report import report
from swarmeval.errors import OutputError
from swarmeval.monitor.tracing import export
from swarmeval.monitor.tracing.export import Tracer
from swarmeval.monitor.tracing.phases import LANE
from swarmeval.monitor.tracing.spans import SpanFile, span_files, spans, spans_path
from tests.support.command_line import SMOKE, start, swarmeval
from tests.support.run_folders import leave, plan_of
from tests.support.traces import Clock, checked_trace, lanes


def on_disk(folder: Path) -> int:
    """The number of spans on disk, drawn or not."""
    return sum(1 for path in span_files(folder) for _ in spans(path))


def test_what_was_seen_is_on_disk_a_second_later_though_nothing_more_comes(tmp_path: Path) -> None:
    clock = Clock()
    tracer = Tracer(tmp_path, 1, clock)
    tracer.judged("judge", 0.01)
    tracer.flush_if_due()
    assert on_disk(tmp_path) == 0
    clock.now_ns += export.FLUSH_NS
    tracer.flush_if_due()
    assert on_disk(tmp_path) == 1
    tracer.judged("judge", 1e-9)  # neither joined to the flushed span, nor is that written again
    clock.now_ns += export.FLUSH_NS
    tracer.flush_if_due()
    assert on_disk(tmp_path) == 2


def test_a_report_adds_the_sessions_that_were_killed_to_the_trace(tmp_path: Path) -> None:
    leave(tmp_path, *plan_of(1, 1), [])
    file = SpanFile(spans_path(tmp_path, "cpu:0"), 1, origin_ns=0)
    with Tracer(tmp_path, 1):
        pass
    file.add(LANE, "load", 0, 1_000_000)
    file.flush()
    assert lanes(checked_trace(tmp_path)) == {}
    report(argparse.Namespace(folder=str(tmp_path)))
    assert [event["name"] for event in lanes(checked_trace(tmp_path))["cpu_0", LANE]] == ["load"]
    assert 'href="trace.json"' in (tmp_path / "report.html").read_text()


class Contended(PosixPath):
    """A folder whose run ends and writes its trace while another process makes a report."""

    looks = 0

    def glob(self, pattern: str) -> Iterator[Self]:  # type: ignore[override]
        self.looks += 1
        if self.looks == 2:
            file = SpanFile(spans_path(self, "cpu:1"), 1, origin_ns=0)
            file.add(LANE, "load", 0, 1_000_000)
            file.flush()
            (self / "trace.json").write_text("of the run, that has all")
        seen = list(super().glob(pattern))
        return iter(seen[:1] if self.looks == 2 else seen)


def test_a_trace_that_was_overtaken_by_the_runs_own_is_made_again(tmp_path: Path) -> None:
    file = SpanFile(spans_path(tmp_path, "cpu:0"), 1, origin_ns=0)
    file.add(LANE, "load", 0, 1_000_000)
    file.flush()
    export.make(Contended(tmp_path))
    assert set(lanes(checked_trace(tmp_path))) == {("cpu_0", LANE), ("cpu_1", LANE)}


def test_spans_that_cannot_be_read_are_an_error_that_names_them(tmp_path: Path) -> None:
    path = spans_path(tmp_path, "cpu:0")
    path.mkdir()
    with pytest.raises(OutputError, match=rf"^{re.escape(str(path))}: cannot be read \(Is a directory\)$"):
        export.make(tmp_path)


@pytest.mark.slow
def test_all_that_a_killed_run_left_on_disk_is_in_its_reports_trace(tmp_path: Path) -> None:
    words = [*SMOKE, "wandb.mode=off", "--num_agents", "60", "--output_dir", str(tmp_path), "--trace"]
    left = [spans_path(tmp_path, track) for track in ("coordinator", "cpu:0")]
    with start(*words) as process:
        while not all(path.exists() and any(spans(path)) for path in left):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert lanes(checked_trace(tmp_path)) == {}
    code, out, _ = swarmeval("report", str(tmp_path))
    assert (code, out.splitlines()[1].split("  ")[0]) == (0, str(tmp_path / "trace.json"))
    tracks = lanes(checked_trace(tmp_path))
    assert {process for process, _ in tracks} == {"coordinator", "cpu_0"}
    assert sum(map(len, tracks.values())) == on_disk(tmp_path)
