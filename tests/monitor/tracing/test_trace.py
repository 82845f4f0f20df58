"""Claims about --trace: a valid trace of every process, however it ended, and no files without the flag."""

import itertools
import json
import signal
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.monitor.tracing import export
from swarmeval.monitor.tracing.export import Tracer
from swarmeval.monitor.tracing.phases import DECODE, FLUSH_NS, IDLE, LANE, PREFILL, SLOT_NS, Phases, RecordedPhases
from swarmeval.monitor.tracing.spans import SpanFile, spans, spans_path
from tests.support.command_line import SMOKE, start, swarmeval
from tests.support.traces import Clock, checked_trace, lanes

STEP_NS = 3_000_000


def covered(track: list[dict[str, Any]]) -> float:
    """The fraction of a lane's time, from its first to its last span, that is covered by spans."""
    whole = max(event["ts"] + event["dur"] for event in track) - min(event["ts"] for event in track)
    return float(sum(event["dur"] for event in track) / whole)


def test_phases_leave_no_gap_and_few_spans_however_often_they_change(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "trace_cpu_0.jsonl"
    phases = RecordedPhases(SpanFile(path, 1, clock.now_ns), lambda: None, clock)
    phases.enter(IDLE)
    for _ in range(1000):
        for phase in (PREFILL, DECODE, DECODE):
            phases.enter(phase)
            clock.now_ns += STEP_NS
    phases.close()
    written = list(spans(path))
    for before, after in itertools.pairwise(written):
        assert before["end_us"] == after["start_us"]
    slots = 3 * 1000 * STEP_NS / SLOT_NS
    assert slots <= len(written) <= 3 * slots + 2
    spent = {
        name: sum(span["end_us"] - span["start_us"] for span in written if span["name"] == name)
        for name in (PREFILL, DECODE)
    }
    assert spent == pytest.approx({PREFILL: 1000 * STEP_NS / 1e3, DECODE: 2000 * STEP_NS / 1e3})


def test_a_long_phase_is_one_span_per_second_with_the_memory_at_its_end(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "trace_cpu_0.jsonl"
    phases = RecordedPhases(SpanFile(path, 1, clock.now_ns), lambda: None, clock)
    phases.gauge("cuda_mb", lambda: 12.5)
    for _ in range(1000):
        phases.enter(DECODE)
        clock.now_ns += 10_000_000
    phases.close()
    load, *decode = spans(path)
    assert load["name"] == "load"
    assert {span["name"] for span in decode} == {DECODE}
    assert len(decode) <= 10e9 / FLUSH_NS + 1
    assert {span["cuda_mb"] for span in decode} == {12.5}
    assert all(span["rss_mb"] > 1 for span in decode)


def test_an_idle_worker_has_flushed_all_its_spans(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "trace_cpu_0.jsonl"
    phases = RecordedPhases(SpanFile(path, 1, clock.now_ns), lambda: None, clock)
    phases.enter(DECODE)
    clock.now_ns += SLOT_NS
    phases.enter(IDLE)
    assert [span["name"] for span in spans(path)] == ["load", DECODE]


def test_phases_without_a_trace_read_no_clock_and_make_no_file(tmp_path: Path) -> None:
    phases = Phases()
    phases.enter(DECODE)
    phases.gauge("rss_mb", lambda: 1 / 0)
    phases.close()
    assert list(tmp_path.iterdir()) == []


def test_judges_at_work_at_once_are_drawn_beside_each_other(tmp_path: Path) -> None:
    with Tracer(tmp_path, 1) as tracer:
        for _ in range(3):
            tracer.judged("judge", 0.01)
        tracer.judged("extract", 0.001)
    tracks = lanes(checked_trace(tmp_path))
    assert set(tracks) == {("coordinator", name) for name in ("judge 1", "judge 2", "judge 3", "extract 1")}


def test_what_follows_at_once_is_joined(tmp_path: Path) -> None:
    with Tracer(tmp_path, 1) as tracer:
        for _ in range(1000):
            tracer.judged("extract", 1e-9)
    picture = checked_trace(tmp_path)
    events = lanes(picture)["coordinator", "extract 1"]
    assert sum(event["args"]["count"] for event in events) == 1000
    assert len(events) < 100
    drawn_s = sum(event["dur"] for event in events) / 1e6
    worked_s = picture["otherData"]["phases"]["coordinator"]["extract"]["seconds"]
    assert worked_s <= 1000 * 1e-9 + 1e-7 * len(events) < drawn_s  # gaps filled by joining do not count as work


def test_sessions_are_drawn_in_sequence_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = spans_path(tmp_path, "cpu:0")
    for session in (1, 2):
        file = SpanFile(path, session, origin_ns=1_000_000_000 * session)
        start_ns = 1_000_000_000 * session
        file.add(LANE, "load", start_ns, start_ns + 2_000_000_000)
        file.flush()
        with path.open("a") as torn:
            torn.write('{"session": "x", "lane": 1, "name": [], "start_us": "", "end_us": null}\n')
            torn.write("[" * 100_000 + '\n{"session": 1, "lane": "pha')
    export.write(tmp_path)
    events = lanes(checked_trace(tmp_path))["cpu_0", LANE]
    assert [(event["ts"], event["dur"], event["args"]["session"]) for event in events] == [
        (0, 2_000_000, 1),
        (2_000_000 + export.PAUSE_US, 2_000_000, 2),
    ]


@given(st.lists(st.lists(st.integers(1, 10**11), min_size=1, max_size=20), min_size=1, max_size=3))
def test_spans_without_a_gap_touch_in_the_trace_and_never_overlap(sessions: list[list[int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for session, lengths_ns in enumerate(sessions, 1):
            file = SpanFile(spans_path(folder, "cpu:0"), session, origin_ns=12_345)
            for start_ns, end_ns in itertools.pairwise(itertools.accumulate(lengths_ns, initial=7)):
                file.add(LANE, DECODE, start_ns, end_ns)
            file.flush()
        export.write(folder)
        events = lanes(checked_trace(folder))["cpu_0", LANE]
    for before, after in itertools.pairwise(events):
        if before["args"] == after["args"]:
            assert before["ts"] + before["dur"] == after["ts"]


@pytest.mark.slow
def test_a_trace_covers_every_workers_life_and_flame_graphs_name_functions(
    tmp_path: Path,
) -> None:
    words = [*SMOKE, "cpu_workers=2", "wandb.mode=off", "--num_agents", "15", "--num_tasks", "20", "--output_dir"]
    began = time.monotonic()
    assert swarmeval(*words, str(tmp_path), "--trace")[0] == 0
    took_us = 1e6 * (time.monotonic() - began)
    picture = checked_trace(tmp_path)
    tracks = lanes(picture)
    assert 0.1 * took_us < max(event["ts"] + event["dur"] for track in tracks.values() for event in track) < took_us
    assert {process for process, _ in tracks} == {"coordinator", "cpu_0", "cpu_1"}
    for device in ("cpu_0", "cpu_1"):
        track = tracks[device, LANE]
        assert {"load", "idle", "decode"} >= {event["name"] for event in track} >= {"load", "idle"}
        assert covered(track) >= 0.95
    counts: dict[str, int] = defaultdict(int)
    for (process, _), track in tracks.items():
        for event in track:
            counts[event["name"]] += event["args"]["count"] if process == "coordinator" else 0
    executed = json.loads((tmp_path / "score.json").read_text())["programs_executed"]  # equal programs share a verdict
    assert (counts["extract"], counts["judge"]) == (300, executed)
    assert picture["otherData"]["phases"]["cpu_0"]["load"]["peak_rss_mb"] > 10
    pages = {name: (tmp_path / f"flame_{name}.html").read_text() for name in ("coordinator", "cpu_0", "cpu_1")}
    assert all(page.startswith("<!DOCTYPE html>") for page in pages.values())
    # Enough jobs that samples meet the judging. A scripted worker may be done before its first sample.
    assert "_judge_queued\\u0000" in pages["coordinator"]


@pytest.mark.slow
def test_the_trace_of_a_real_model_has_its_prompts_and_its_decoding(tmp_path: Path) -> None:
    words = ["--config", "config/smoke.yaml", "--num_agents", "2", "--num_tasks", "2", "--output_dir", str(tmp_path)]
    code, _, err = swarmeval(*words, "--trace", "--set", "max_new_tokens=32", "eval_timeout_scale=1")
    assert code == 0, err
    picture = checked_trace(tmp_path)
    track = lanes(picture)["cpu_0", LANE]
    assert {event["name"] for event in track} == {"load", "prefill", "decode", "idle"}
    assert covered(track) >= 0.95
    phases = picture["otherData"]["phases"]["cpu_0"]
    assert phases["decode"]["peak_rss_mb"] > 100
    page = (tmp_path / "flame_cpu_0.html").read_text()
    assert all(f"{function}\\u0000" in page for function in ("load_engine", "step", "_admit", "decode"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_ended_run_has_a_valid_trace_and_a_resumed_one_continues_it(tmp_path: Path, number: signal.Signals) -> None:
    words = [*SMOKE, "--num_agents", "10", "--num_tasks", "60", "--output_dir", str(tmp_path), "--trace"]
    with start(*words) as process:
        journal = tmp_path / "journal.jsonl"
        while not journal.exists() or journal.stat().st_size < 20_000:
            time.sleep(0.005)
        process.send_signal(number)
        process.communicate(timeout=60)
    checked_trace(tmp_path)
    assert swarmeval(*words)[0] == 0
    sessions = {event["args"]["session"] for track in lanes(checked_trace(tmp_path)).values() for event in track}
    assert sessions == {1, 2}
    assert (tmp_path / "flame_coordinator-2.html").exists()


@pytest.mark.slow
def test_without_the_flag_there_is_no_such_file_and_no_profiler_is_loaded(tmp_path: Path) -> None:
    words = [*SMOKE, "--num_tasks", "2", "--output_dir"]
    env = {"PYTHONPROFILEIMPORTTIME": "1"}
    loaded = {}
    for name, flags in {"off": [], "on": ["--trace"]}.items():
        code, _, err = swarmeval(*words, str(tmp_path / name), *flags, env=env)
        assert code == 0
        workers = (tmp_path / name / "run.log").read_text()
        loaded[name] = ["pyinstrument" in said for said in (err, workers)]
    assert loaded == {"off": [False, False], "on": [True, True]}
    names = {path.name for path in (tmp_path / "off").iterdir()}
    assert not {name for name in names if name.startswith(("trace", "flame"))}
