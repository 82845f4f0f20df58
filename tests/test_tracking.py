"""Claims about tracking: never in the way, never fatal, and in the end really in W&B's own file."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ConfigError
from bench.settings import RunConfig
from watch.tracking import NoTracker, Run, WandbTracker, make_tracker

ROOT = Path(__file__).resolve().parent.parent
KEY = "0123456789abcdef0123456789abcdef01234567"
NO_LOGIN = "wandb is 'online' but there is no W&B login; run 'wandb login', set WANDB_API_KEY, or set wandb: offline"


class RecordingRun:
    """A W&B run that remembers; it waits in log() until `gate` opens."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.gate = gate
        self.logged: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.finished = False

    def log(self, data: dict[str, Any]) -> None:
        if self.gate is not None:
            self.gate.wait()
        self.logged.append(data)

    def finish(self) -> None:
        self.finished = True


class RefusingRun(RecordingRun):
    """A W&B run that has lost its server."""

    def log(self, data: dict[str, Any]) -> None:
        raise ConnectionError("no route to host")


def test_what_is_logged_arrives_in_order_and_the_summary_last() -> None:
    run = RecordingRun()
    tracker = WandbTracker(lambda: run)
    for step in range(100):
        tracker.log({"step": step})
    tracker.finish({"pass@1": 0.5})
    tracker.finish({"pass@1": 0.6})
    tracker.log({"step": 100})
    assert run.logged == [{"step": step} for step in range(100)]
    assert run.summary == {"pass@1": 0.5}
    assert run.finished


def test_a_hanging_run_costs_its_oldest_samples_and_no_time(caplog: pytest.LogCaptureFixture) -> None:
    gate, opened = threading.Event(), threading.Event()
    run = RecordingRun()

    def open_late() -> Run:
        opened.set()
        gate.wait()
        return run

    tracker = WandbTracker(open_late, queue_length=3, finish_limit_s=0.01)
    assert opened.wait(20)
    for step in range(10):
        tracker.log({"step": step})
    with caplog.at_level(logging.WARNING):
        tracker.finish({})
    assert tracker.dropped == 7
    assert caplog.messages == [
        "W&B was too slow: 7 samples were dropped",
        "W&B did not finish within 0 s; what it got is in the run folder's wandb/",
    ]
    gate.set()


def test_a_failing_run_is_logged_once_and_still_ended(caplog: pytest.LogCaptureFixture) -> None:
    run = RefusingRun()
    with caplog.at_level(logging.WARNING):
        tracker = WandbTracker(lambda: run)
        for step in range(3):
            tracker.log({"step": step})
        tracker.finish({"total": 1})
    assert caplog.messages == ["W&B failed, the run goes on without it (ConnectionError: no route to host)"]
    assert run.summary == {"total": 1}
    assert run.finished


def test_a_run_that_cannot_be_opened_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> Run:
        raise TimeoutError("init timed out")

    with caplog.at_level(logging.WARNING):
        tracker = WandbTracker(refuse)
        tracker.log({"step": 0})
        tracker.finish({})
    assert caplog.messages == ["W&B failed, the run goes on without it (TimeoutError: init timed out)"]


def test_off_tracks_nothing_whatever_the_environment_says(tmp_path: Path) -> None:
    tracker = make_tracker(RunConfig.model_validate({}), tmp_path, "r", {}, {"WANDB_MODE": "online"})
    assert isinstance(tracker, NoTracker)
    tracker.log({"x": 1.0})
    tracker.finish({"x": 1})
    assert list(tmp_path.iterdir()) == []


def test_wandb_mode_disabled_wins_over_the_config(tmp_path: Path) -> None:
    tracker = make_tracker(
        RunConfig.model_validate({"wandb": "offline"}), tmp_path, "r", {}, {"WANDB_MODE": "disabled"}
    )
    assert isinstance(tracker, NoTracker)


def test_an_unknown_wandb_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        make_tracker(RunConfig.model_validate({"wandb": "offline"}), tmp_path, "r", {}, {"WANDB_MODE": "of"})
    words = "online, run, offline, dryrun, disabled"
    assert str(refused.value) == f"WANDB_MODE is 'of'; use one of {words}, or unset it"


@pytest.mark.parametrize(
    ("mode", "environ"),
    [
        ("online", {}),
        ("offline", {"WANDB_MODE": "online"}),
        ("online", {"WANDB_BASE_URL": "https://wandb.example.org"}),  # the login is another server's
    ],
)
def test_online_without_a_login_is_refused_with_the_remedy(tmp_path: Path, mode: Any, environ: dict[str, str]) -> None:
    if "WANDB_BASE_URL" in environ:
        write_netrc(tmp_path, "api.wandb.ai")
    with pytest.raises(ConfigError) as refused:
        make_tracker(RunConfig.model_validate({"wandb": mode}), tmp_path, "r", {}, {"HOME": str(tmp_path), **environ})
    assert str(refused.value) == NO_LOGIN


def write_netrc(home: Path, host: str) -> None:
    path = home / ".netrc"
    path.write_text(f"machine {host}\n  login user\n  password {KEY}\n")
    path.chmod(0o600)


SCRIPT = """
import json, sys, threading
from pathlib import Path
from bench.settings import RunConfig
from watch.tracking import make_tracker
config = RunConfig(wandb=sys.argv[1], wandb_api_key=sys.argv[2], wandb_project="proj", wandb_tags=("a", "b"))
tracker = make_tracker(config, Path(sys.argv[3]), "run-7", {"config": config.model_dump(), "seed": 3})
for step in range(3):
    tracker.log({"elapsed_s": float(step), "jobs_per_s": 2.0 * step})
tracker.finish({"pass@1": 0.25, "outcomes": {"PASSED": 2}})
"""


def track(folder: Path, mode: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A real run of the real wandb in a fresh process; warnings are errors."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    command = [sys.executable, "-W", "error", "-c", SCRIPT, mode, KEY, str(folder)]
    environ = {**inherited, "HOME": str(folder), **environ}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)


def records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: LevelDB's log format behind seven bytes, protobuf within."""
    from wandb.proto.wandb_internal_pb2 import Record

    raw = path.read_bytes()
    position, parts = 7, b""
    while position + 7 <= len(raw):
        left = 32768 - position % 32768
        if left < 7:  # no header fits in the rest of a block
            position += left
            continue
        size, kind = int.from_bytes(raw[position + 4 : position + 6], "little"), raw[position + 6]
        parts += raw[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in {1, 4}:  # whole, or the last part
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def pairs(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


@pytest.mark.slow
def test_an_offline_run_holds_config_numbers_and_summary_and_is_silent(tmp_path: Path) -> None:
    done = track(tmp_path, "offline")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (path,) = tmp_path.glob("wandb/offline-run-*/run-run-7.wandb")
    found = list(records(path))
    run = next(record.run for record in found if record.HasField("run"))
    assert (run.run_id, run.display_name, run.project, list(run.tags)) == ("run-7", "run-7", "proj", ["a", "b"])
    config = pairs(run.config.update)
    assert config["seed"] == 3
    assert config["config"]["batch_size"] == RunConfig.model_validate({}).batch_size
    history = [pairs(record.history.item) for record in found if record.HasField("history")]
    assert [(row["elapsed_s"], row["jobs_per_s"]) for row in history] == [(0.0, 0.0), (1.0, 2.0), (2.0, 4.0)]
    summary: dict[str, Any] = {}
    for record in found:
        summary.update(pairs(record.summary.update))
    assert summary["pass@1"] == 0.25
    assert KEY not in everything_written(tmp_path)


@pytest.mark.slow
def test_an_online_run_whose_server_refuses_goes_on_and_writes_no_key(tmp_path: Path) -> None:
    done = track(tmp_path, "online", WANDB_BASE_URL="http://127.0.0.1:9", WANDB_INIT_TIMEOUT="2")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("W&B failed, the run goes on without it (")
    assert done.stderr.count("\n") == 1
    assert KEY not in everything_written(tmp_path) + done.stderr


def everything_written(folder: Path) -> str:
    return "".join(path.read_bytes().decode(errors="replace") for path in folder.rglob("*") if path.is_file())
