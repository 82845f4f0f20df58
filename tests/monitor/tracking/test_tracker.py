"""Claims about tracking: it never blocks or ends a run, and is refused at the start if it cannot work."""

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from swarmeval.errors import ConfigError
from swarmeval.monitor.tracking.tracker import NoTracker, Run, WandbTracker, make_tracker
from swarmeval.monitor.tracking.wandb_login import check_login
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.wandb import WandbSettings

KEY = "0123456789abcdef0123456789abcdef01234567"
NO_LOGIN = (
    "wandb.mode is 'online' but there is no W&B login; run 'wandb login', set WANDB_API_KEY, or set wandb.mode: offline"
)


class RecordingRun:
    """A W&B run that records its calls."""

    def __init__(self) -> None:
        self.logged: list[dict[str, float]] = []
        self.summary: dict[str, object] = {}
        self.finished = False

    def log(self, values: Mapping[str, float]) -> None:
        self.logged.append(dict(values))

    def conclude(self, summary: Mapping[str, object]) -> None:
        self.summary = dict(summary)

    def finish(self) -> None:
        self.finished = True


class RefusingRun(RecordingRun):
    """A W&B run whose server is lost."""

    def log(self, values: Mapping[str, float]) -> None:
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


def test_a_value_that_is_not_a_number_is_not_a_metric() -> None:
    run = RecordingRun()
    tracker = WandbTracker(lambda: run)
    tracker.log({"load1": 0.5, "done_jobs": 3, "cpu_cores_pct": "3 4", "rapl_j": None})
    tracker.finish({})
    assert run.logged == [{"load1": 0.5, "done_jobs": 3}]


def test_a_hanging_run_costs_its_oldest_samples_and_no_time(caplog: pytest.LogCaptureFixture) -> None:
    given_up, opened = threading.Event(), threading.Event()
    run = RecordingRun()

    def open_late() -> Run:
        opened.set()
        given_up.wait()
        return run

    tracker = WandbTracker(open_late, given_up.set, queue_length=3, open_limit_s=0.01)
    assert opened.wait(20)
    for step in range(10):
        tracker.log({"step": step})
    with caplog.at_level(logging.WARNING):
        tracker.finish({"total": 1})
    assert tracker.dropped == 7
    assert caplog.messages == [
        "W&B was too slow: 7 samples were dropped",
        "W&B takes too long; the rest is in wandb/ in the run folder, run 'wandb sync' to send it",
    ]
    assert run.logged == [{"step": 7}, {"step": 8}, {"step": 9}]
    assert (run.summary, run.finished) == ({"total": 1}, True)


def test_a_failing_run_is_logged_once_and_still_ended(caplog: pytest.LogCaptureFixture) -> None:
    run = RefusingRun()
    with caplog.at_level(logging.WARNING):
        tracker = WandbTracker(lambda: run)
        for step in range(3):
            tracker.log({"step": step})
        tracker.finish({"total": 1})
    assert caplog.messages == ["W&B failed (ConnectionError: no route to host); the run continues without it"]
    assert run.summary == {"total": 1}
    assert run.finished


def test_a_run_that_cannot_be_opened_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> Run:
        raise TimeoutError("init timed out")

    with caplog.at_level(logging.WARNING):
        tracker = WandbTracker(refuse)
        tracker.log({"step": 0})
        tracker.finish({})
    assert caplog.messages == ["W&B failed (TimeoutError: init timed out); the run continues without it"]


def test_off_tracks_nothing_whatever_the_environment_says(tmp_path: Path) -> None:
    tracker = make_tracker(RunConfig.model_validate({}), tmp_path, "r", {}, {"WANDB_MODE": "online"})
    assert isinstance(tracker, NoTracker)
    tracker.log({"x": 1.0})
    tracker.finish({"x": 1})
    assert list(tmp_path.iterdir()) == []


def test_wandb_mode_disabled_wins_over_the_config(tmp_path: Path) -> None:
    tracker = make_tracker(
        RunConfig.model_validate({"wandb": {"mode": "offline"}}), tmp_path, "r", {}, {"WANDB_MODE": "disabled"}
    )
    assert isinstance(tracker, NoTracker)


def test_an_unknown_wandb_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        make_tracker(RunConfig.model_validate({"wandb": {"mode": "offline"}}), tmp_path, "r", {}, {"WANDB_MODE": "of"})
    words = "online, run, offline, dryrun, disabled"
    assert str(refused.value) == f"WANDB_MODE is 'of'; use one of {words}, or unset it"


@pytest.mark.parametrize(
    ("mode", "environ"),
    [
        ("online", {}),
        ("offline", {"WANDB_MODE": "online"}),
        ("online", {"WANDB_BASE_URL": "https://wandb.example.org"}),  # the login is for another server
    ],
)
def test_online_without_a_login_is_refused_with_the_remedy(tmp_path: Path, mode: Any, environ: dict[str, str]) -> None:
    if "WANDB_BASE_URL" in environ:
        write_netrc(tmp_path, "api.wandb.ai")
    with pytest.raises(ConfigError) as refused:
        make_tracker(
            RunConfig.model_validate({"wandb": {"mode": mode}}), tmp_path, "r", {}, {"HOME": str(tmp_path), **environ}
        )
    assert str(refused.value) == NO_LOGIN


def test_a_login_file_that_is_not_text_counts_as_no_login(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_bytes(b"\xdb\xff")
    (tmp_path / "settings").write_bytes(b"[default]\nbase_url = \xff")
    environ = {"HOME": str(tmp_path), "WANDB_CONFIG_DIR": str(tmp_path)}
    with pytest.raises(ConfigError) as refused:
        check_login(RunConfig(wandb=WandbSettings(mode="online")), environ)
    assert str(refused.value) == NO_LOGIN
    write_netrc(tmp_path, "api.wandb.ai")
    assert check_login(RunConfig(wandb=WandbSettings(mode="online")), environ) == "online"
    with pytest.raises(ConfigError) as refused:
        check_login(RunConfig(wandb=WandbSettings(mode="online")), {**environ, "WANDB_BASE_URL": "http://["})
    said = "the W&B server is 'http://[', not a valid URL; fix or unset WANDB_BASE_URL"
    assert str(refused.value) == said


def write_netrc(home: Path, host: str) -> None:
    path = home / ".netrc"
    path.write_text(f"machine {host}\n  login user\n  password {KEY}\n")
    path.chmod(0o600)
