"""Events of devices: one line per change between two statuses, and none without a change."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from swarmeval.monitor.events import Events
from swarmeval.records import Status, WorkerStatus

OOM = "cuda:0: worker died while generating (OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB)"
KILLED = "cuda:0: worker died while generating (killed by SIGKILL)"


def status(*workers: WorkerStatus, phase: str = "generating", message: str = "") -> Status:
    return Status("run", 1, phase, 0.0, 10, workers=workers, message=message)


def written(folder: Path) -> list[tuple[str, str, str]]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [(event["kind"], event["device"], event["text"]) for event in map(json.loads, lines)]


def test_restarts_retirement_and_memory_are_told_once_each(tmp_path: Path) -> None:
    events = Events(tmp_path, lambda: 7.0)
    ready = WorkerStatus("cuda:0", "ready")
    dead = replace(ready, state="restarting", deaths=1, last_error=OOM)
    again = replace(dead, state="ready", restarts=1)
    third = replace(again, state="restarting", restarts=2, deaths=3, last_error=KILLED)
    retired = replace(third, state="retired")
    for worker in (ready, ready, dead, dead, again, again, third, retired, retired):
        events.follow(status(worker))
    assert written(tmp_path) == [
        ("out_of_memory", "cuda:0", OOM),
        ("restarted", "cuda:0", OOM),
        ("restarted", "cuda:0", KILLED),
        ("retired", "cuda:0", KILLED),
    ]


def test_a_drained_run_is_paused_once_and_a_stopped_one_says_why(tmp_path: Path) -> None:
    drained, stopped = Events(tmp_path, lambda: 0.0), Events(tmp_path, lambda: 0.0)
    for phase in ("generating", "draining", "draining", "interrupted"):
        drained.follow(status(phase=phase))
    stopped.follow(status())
    stopped.follow(status(phase="interrupted", message="stopped"))
    stopped.follow(status(phase="done"))
    text = "finishing running jobs; repeat the command to resume"
    assert written(tmp_path) == [("paused", "", text), ("paused", "", "stopped")]


def test_a_line_has_both_clocks_and_is_only_appended(tmp_path: Path) -> None:
    Events(tmp_path, lambda: 1.23456).add("loaded", "cpu:0", "nf4, ≈ 8 rows")
    before = (tmp_path / "events.jsonl").read_bytes()
    Events(tmp_path, lambda: 9.0).add("loaded", "cpu:0", "nf4")
    assert (tmp_path / "events.jsonl").read_bytes().startswith(before)
    event = json.loads(before)
    assert event.pop("time") > 1e9
    assert event == {"elapsed_s": 1.235, "kind": "loaded", "device": "cpu:0", "text": "nf4, ≈ 8 rows"}


def test_a_full_disk_costs_events_and_one_line_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    events = Events(tmp_path, lambda: 0.0)
    with caplog.at_level(logging.WARNING):
        events.add("memory", "cpu:0", "1")
        events.add("memory", "cpu:0", "2")
    path = tmp_path / "events.jsonl"
    assert caplog.messages == [f"{path}: cannot write events (No space left on device); the run continues without them"]
