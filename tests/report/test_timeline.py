"""Traces and events as the report shows them."""

import json
from array import array
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.report.timeline import POINTS, RunClock, timeline
from swarmeval.runs.answer_index import Timings

START = 1_800_000_000.0


def stamp(at: float) -> str:
    return datetime.fromtimestamp(START + at, UTC).isoformat(timespec="milliseconds")


def traced(
    folder: Path, seconds: list[float], columns: dict[str, list[float]], name: str = "resource_trace.csv"
) -> None:
    rows = [",".join(["time", *columns])]
    rows += [",".join([stamp(at), *(str(values[k]) for values in columns.values())]) for k, at in enumerate(seconds)]
    (folder / name).write_text("\n".join(rows) + "\n")


def timings(*rows: tuple[float, float, float]) -> Timings:
    """Timings from rows of (finish time, latency, output tokens)."""
    ended, took, tokens = zip(*rows, strict=True) if rows else ((), (), ())
    return Timings(array("d", took), array("d", [10.0] * len(rows)), array("d", tokens),
                   array("d", [START + at for at in ended]), len(rows))  # fmt: skip


def test_a_run_that_left_no_trace_has_an_empty_timeline(tmp_path: Path) -> None:
    time = timeline(tmp_path, timings())
    assert (time.seconds, time.series, time.events) == (0.0, (), ())


def test_columns_that_are_there_become_series_and_the_rest_is_left_out(tmp_path: Path) -> None:
    traced(tmp_path, [0, 1, 2], {"cpu_pct": [10, 20, 30], "ram_used_mb": [1024, 2048, 1024], "rapl_j": [0, 50, 150]})
    series = {(line.panel, line.name): line.points for line in timeline(tmp_path, timings()).series}
    assert series == {
        ("Utilisation", "CPU"): ((0.0, 10.0), (1.0, 20.0), (2.0, 30.0)),
        ("Memory", "machine"): ((0.0, 1.0), (1.0, 2.0), (2.0, 1.0)),
        ("Power", "CPU"): ((1.0, 50.0), (2.0, 100.0)),
    }


def test_each_gpu_has_a_line_of_its_own(tmp_path: Path) -> None:
    traced(tmp_path, [0, 1], {"cpu_pct": [1, 1]})
    rows = [f"{stamp(at)},{gpu},{100 * gpu + at},300" for at in (0, 1) for gpu in (0, 1)]
    (tmp_path / "gpu_trace.csv").write_text("\n".join(["time,index,utilization_pct,power_w", *rows]) + "\n")
    series = {(line.panel, line.name): line.points for line in timeline(tmp_path, timings()).series}
    assert series["Utilisation", "GPU 1"] == ((0.0, 100.0), (1.0, 101.0))
    assert series["Power", "GPU 0"] == ((0.0, 300.0), (1.0, 300.0))


def test_a_long_trace_is_thinned_and_keeps_the_peak_of_memory(tmp_path: Path) -> None:
    memory = [1024.0] * 5000
    memory[3333] = 8192.0
    traced(tmp_path, list(range(5000)), {"ram_used_mb": memory})
    (line,) = timeline(tmp_path, timings()).series
    assert len(line.points) <= POINTS
    assert max(value for _, value in line.points) == 8.0


def test_torn_rows_and_lines_are_left_out(tmp_path: Path) -> None:
    traced(tmp_path, [0, 1], {"cpu_pct": [1, 2]})
    with (tmp_path / "resource_trace.csv").open("a") as file:
        file.write("0001-01-01T00:00:00,9,9\n" + "\0" * 200_000 + "\n2027-01")
    event = {"time": START + 1, "elapsed_s": 1, "kind": "restarted", "device": "cuda:0", "text": "it died"}
    (tmp_path / "events.jsonl").write_text(
        json.dumps(event) + '\n{"time": NaN}\n{"time": "x"}\n' + "[" * 100_000 + '\n{"time": 18'
    )
    time = timeline(tmp_path, timings())
    assert [line.points for line in time.series] == [((0.0, 1.0), (1.0, 2.0))]
    assert [(e.at_s, e.kind, e.device, e.text) for e in time.events] == [(1.0, "restarted", "cuda:0", "it died")]


def test_the_hours_between_an_interruption_and_its_resume_take_no_time(tmp_path: Path) -> None:
    traced(tmp_path, [0, 1, 2, 9000, 9001], {"cpu_pct": [1, 2, 3, 4, 5]})
    (line,) = timeline(tmp_path, timings()).series
    assert [at for at, _ in line.points] == [0, 1, 2, 2, 3]


def test_throughput_adds_up_to_every_token(tmp_path: Path) -> None:
    time = timeline(tmp_path, timings((10, 10, 100), (20, 5, 300), (12, 4, 7)))
    tokens, answers = time.series
    step = tokens.points[1][0] - tokens.points[0][0]
    assert round(sum(value for _, value in tokens.points) * step) == 407
    step = answers.points[1][0] - answers.points[0][0]
    assert round(sum(value for _, value in answers.points) * step) == 3


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60))
@pytest.mark.slow
def test_the_clock_never_runs_backwards_nor_past_the_end(times: list[float]) -> None:
    clock = RunClock(times)
    shown = [clock(time) for time in sorted(times)]
    assert all(later >= at - 1e-6 for at, later in pairwise(shown))
    assert all(0 <= at <= clock.seconds for at in shown)
