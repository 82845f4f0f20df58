"""Claims about tracking: it never blocks or ends a run, and is refused at the start if it cannot work."""

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from swarmeval.errors import ConfigError
from swarmeval.monitor.tracking import wandb_run
from swarmeval.monitor.tracking.making import EXTRAS, check_trackers, make_tracker
from swarmeval.monitor.tracking.tracker import NoTracker, QueuedTracker, SeveralTrackers, Store, StoredRun
from swarmeval.monitor.tracking.wandb_login import check_login
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.wandb import WandbSettings

KEY = "0123456789abcdef0123456789abcdef01234567"
NO_LOGIN = (
    "wandb.mode is 'online' but there is no W&B login; run 'wandb login', set WANDB_API_KEY, or set wandb.mode: offline"
)


STORE = Store("W&B", "wait", open_limit_s=0.01, given_up_limit_s=5)


class RecordingRun:
    """A run of a store that records its calls."""

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
    """A run of a store whose server is lost."""

    def log(self, values: Mapping[str, float]) -> None:
        raise ConnectionError("no route to host")


def test_what_is_logged_arrives_in_order_and_the_summary_last() -> None:
    run = RecordingRun()
    tracker = QueuedTracker(wandb_run.STORE, lambda: run)
    for step in range(100):
        tracker.log({"step": step})
    tracker.finish({"pass@1": 0.5})
    tracker.finish({"pass@1": 0.6})
    tracker.log({"step": 100})
    assert run.logged == [{"step": step} for step in range(100)]
    assert run.summary == {"pass@1": 0.5}
    assert run.finished


def test_a_hanging_run_costs_its_oldest_samples_and_no_time(caplog: pytest.LogCaptureFixture) -> None:
    given_up, opened = threading.Event(), threading.Event()
    run = RecordingRun()

    def open_late() -> RecordingRun:
        opened.set()
        given_up.wait()
        return run

    tracker = QueuedTracker[dict[str, float]](STORE, open_late, given_up.set, queue_length=3)
    assert opened.wait(20)
    for step in range(10):
        tracker.log({"step": step})
    with caplog.at_level(logging.WARNING):
        tracker.finish({"total": 1})
    assert tracker.dropped == 7
    assert caplog.messages == [
        "W&B was too slow: 7 entries were dropped",
        "W&B takes too long; wait",
    ]
    assert run.logged == [{"step": 7}, {"step": 8}, {"step": 9}]
    assert (run.summary, run.finished) == ({"total": 1}, True)


def test_a_failing_run_is_logged_once_and_still_ended(caplog: pytest.LogCaptureFixture) -> None:
    run = RefusingRun()
    with caplog.at_level(logging.WARNING):
        tracker = QueuedTracker(wandb_run.STORE, lambda: run)
        for step in range(3):
            tracker.log({"step": step})
        tracker.finish({"total": 1})
    assert caplog.messages == ["W&B failed (ConnectionError: no route to host); the run continues without it"]
    assert run.summary == {"total": 1}
    assert run.finished


def test_a_run_that_cannot_be_opened_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> StoredRun[dict[str, float]]:
        raise TimeoutError("init timed out")

    with caplog.at_level(logging.WARNING):
        tracker = QueuedTracker(wandb_run.STORE, refuse)
        tracker.log({"step": 0})
        tracker.finish({})
    assert caplog.messages == ["W&B failed (TimeoutError: init timed out); the run continues without it"]


def test_several_trackers_get_the_same_and_wait_together(caplog: pytest.LogCaptureFixture) -> None:
    run, stuck = RecordingRun(), threading.Event()
    hanging = Store("MLflow", "see the folder", open_limit_s=0.05)

    def open_never() -> RecordingRun:
        stuck.wait()
        return RecordingRun()

    with caplog.at_level(logging.WARNING):
        trackers: list[QueuedTracker[Mapping[str, float]]] = [QueuedTracker(hanging, open_never) for _ in range(20)]
        several = SeveralTrackers([QueuedTracker(wandb_run.STORE, lambda: run), *trackers])
        several.log({"step": 1})
        began = time.monotonic()
        several.finish({"pass@1": 1.0})
    assert time.monotonic() - began < 20 * 0.05
    stuck.set()
    assert (run.logged, run.summary, run.finished) == ([{"step": 1}], {"pass@1": 1.0}, True)
    assert caplog.messages == ["MLflow takes too long; see the folder"] * 20


@pytest.mark.parametrize("section", EXTRAS)
def test_a_missing_package_is_refused_with_the_remedy(section: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_trackers(RunConfig.model_validate({section: {"enabled": True}}), {}, is_installed=lambda module: False)
    assert str(refused.value) == (
        f"{section}.enabled is true but its package is not installed; "
        f"in the checkout: pip install '.[{section}]', or set {section}.enabled: false"
    )


def test_spans_by_grpc_are_refused_unless_the_endpoint_is_set() -> None:
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    settings: dict[str, Any] = {"enabled": True}
    with pytest.raises(ConfigError) as refused:
        check_trackers(RunConfig.model_validate({"opentelemetry": settings}), environ)
    assert str(refused.value) == (
        "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc', but spans are sent as http/protobuf; "
        "set opentelemetry.endpoint to a collector's HTTP port, usually 4318"
    )
    settings["endpoint"] = "http://localhost:4318"
    check_trackers(RunConfig.model_validate({"opentelemetry": settings}), environ)


def test_a_space_without_a_login_is_refused_with_the_remedy() -> None:
    config = RunConfig.model_validate({"trackio": {"enabled": True, "space_id": "me/space"}})
    with pytest.raises(ConfigError) as refused:
        check_trackers(config, {"HF_TOKEN_PATH": "/nowhere"}, is_installed=lambda module: True)
    assert str(refused.value) == (
        "trackio.space_id is 'me/space' but there is no Hugging Face login; "
        "run 'hf auth login', set HF_TOKEN, or leave space_id out"
    )
    check_trackers(config, {"HF_TOKEN": "hf_0123456789"}, is_installed=lambda module: True)


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
