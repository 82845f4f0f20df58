"""Claims about tracking: never in the way, never fatal, and in the end really in W&B's own file."""

import base64
import http.server
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ConfigError
from bench.settings import RunConfig
from watch.tracking import NoTracker, Run, WandbTracker, make_tracker
from watch.wandb_run import chosen, flat

ROOT = Path(__file__).resolve().parent.parent
KEY = "0123456789abcdef0123456789abcdef01234567"
KEY_AS_SENT = re.compile(f"{KEY}|{base64.b64encode(f'api:{KEY}'.encode()).decode().rstrip('=')[:-1]}")
NO_LOGIN = "wandb is 'online' but there is no W&B login; run 'wandb login', set WANDB_API_KEY, or set wandb: offline"


class RecordingRun:
    """A W&B run that remembers."""

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
    """A W&B run that has lost its server."""

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


def test_what_is_no_number_is_no_metric() -> None:
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
        "W&B takes too long; what it did not take is in the run folder's wandb/, for 'wandb sync'",
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


def test_nested_scores_get_keys_that_can_be_listed_and_plotted() -> None:
    score = {"pass@1": 0.5, "pass@10": None, "intervals": {"pass@1": [0.4, 0.6]}, "partial": False, "unions": ["a", {}]}
    assert flat(score) == {
        "pass@1": 0.5,
        "intervals/pass@1/low": 0.4,
        "intervals/pass@1/high": 0.6,
        "partial": False,
        "unions/low": "a",
    }


def test_an_artifact_takes_the_most_telling_files_and_names_those_it_has_no_room_for(tmp_path: Path) -> None:
    for name, size in {"agent_0_results.jsonl": 25_000_000, "score.json": 10, "metrics.csv": 19_999_980}.items():
        with (tmp_path / name).open("w") as file:
            file.truncate(size)
    (tmp_path / "agent_0_evaluation.json").write_text("0123456789")
    (tmp_path / "agent_1_evaluation.json").write_text("0")
    (tmp_path / "journal.jsonl").write_text("no result")
    taken, left_out = chosen(tmp_path)
    assert [path.name for path in taken] == ["score.json", "metrics.csv", "agent_0_evaluation.json"]
    assert left_out == ["agent_1_evaluation.json", "agent_0_results.jsonl"]


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
import sys, time
from pathlib import Path
from bench.settings import RunConfig
from watch.tracking import make_tracker
config = RunConfig(wandb=sys.argv[1], wandb_api_key=sys.argv[2], wandb_project="proj", wandb_tags=("a", "b"))
folder = Path(sys.argv[3])
(folder / "manifest.json").write_text('{"replicas": {"cpu:0": {"weights": "nf4"}}}')
(folder / "score.json").write_text("{}")
(folder / "report.html").write_text("<p>")
tracker = make_tracker(config, folder, "run-7", {"config": config.model_dump(), "seed": 3})
tracker._opened.wait(float(sys.argv[4]))
for step in range(3):
    tracker.log({"elapsed_s": float(step), "jobs_per_s": 2.0 * step})
began = time.monotonic()
tracker.finish({"pass@1": 0.25, "outcomes": {"PASSED": 2}})
print(f"{time.monotonic() - began:.1f}")
"""


def track(folder: Path, mode: str, wait_s: float = 0, **environ: str) -> tuple[float, str]:
    """A real run of the real wandb in a fresh process, where warnings are errors: what its end took, what it said."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    # wandb loses sight of its own process when that is ended under it.
    words = ["-W", "error", "-W", "ignore::ResourceWarning", "-c", SCRIPT, mode, KEY, str(folder), str(wait_s)]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**inherited, "HOME": str(folder), **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert not KEY_AS_SENT.search(everything_written(folder) + done.stderr)
    return float(done.stdout), done.stderr


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


def recorded(folder: Path, kind: str = "offline-run") -> list[Any]:
    (path,) = folder.glob(f"wandb/{kind}-*/run-run-7.wandb")
    return list(records(path))


def history(found: list[Any]) -> list[tuple[float, float]]:
    rows = [pairs(record.history.item) for record in found if record.HasField("history")]
    return [(row["elapsed_s"], row["jobs_per_s"]) for row in rows]


def last(found: list[Any], kind: str) -> dict[str, Any]:
    """What all updates of a run's summary or config come to."""
    values: dict[str, Any] = {}
    for record in found:
        values.update(pairs(getattr(record, kind).update))
    return values


LOGGED = [(0.0, 0.0), (1.0, 2.0), (2.0, 4.0)]


@pytest.mark.slow
def test_an_offline_run_holds_config_numbers_summary_and_results_and_is_silent(tmp_path: Path) -> None:
    _, said = track(tmp_path, "offline", wait_s=60)
    assert said == ""
    found = recorded(tmp_path)
    run = next(record.run for record in found if record.HasField("run"))
    assert (run.run_id, run.display_name, run.project, list(run.tags)) == ("run-7", "run-7", "proj", ["a", "b"])
    config = pairs(run.config.update)
    assert config["seed"] == 3
    assert config["config"]["batch_size"] == RunConfig.model_validate({}).batch_size
    assert last(found, "config")["replicas"] == {"cpu:0": {"weights": "nf4"}}
    assert history(found) == LOGGED
    summary = last(found, "summary")
    assert (summary["pass@1"], summary["outcomes/PASSED"]) == (0.25, 2)
    (artifact,) = (record.artifact for record in found if record.HasField("artifact"))
    assert (artifact.name, artifact.type) == ("results-run-7", "results")
    assert {entry.path for entry in artifact.manifest.contents} == {"score.json", "manifest.json", "report.html"}


@pytest.mark.slow
def test_a_server_that_refuses_from_the_start_has_the_run_recorded_offline(tmp_path: Path) -> None:
    _, said = track(tmp_path, "online", 60, WANDB_BASE_URL="http://127.0.0.1:9", WANDB_INIT_TIMEOUT="2")
    assert said.startswith("W&B cannot be had online (CommError: ")
    assert said.endswith("-run-7' sends it\n")
    assert history(recorded(tmp_path)) == LOGGED


@pytest.mark.slow
def test_a_server_that_hangs_from_the_start_costs_the_end_of_a_run_some_seconds_and_no_record(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        took_s, said = track(tmp_path, "online", WANDB_BASE_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert 5 <= took_s < 5 + 5
    assert said.startswith(
        "W&B takes too long; what it did not take is in the run folder's wandb/, for 'wandb sync'\n"
        "W&B cannot be had online (HandleAbandonedError: ); this run is recorded offline, 'wandb sync "
    )
    assert history(recorded(tmp_path)) == LOGGED
    assert last(recorded(tmp_path), "summary")["pass@1"] == 0.25


@pytest.mark.slow
def test_a_server_that_stops_answering_costs_the_end_of_a_run_some_seconds_and_no_record(tmp_path: Path) -> None:
    with forgetful_server(answers=2) as port:
        took_s, said = track(tmp_path, "online", wait_s=60, WANDB_BASE_URL=f"http://127.0.0.1:{port}")
    assert took_s < 4 + 4 + 5
    folder = next(tmp_path.glob("wandb/run-*"))
    assert said == (
        "W&B did not take the results as an artifact within 4 s\n"
        f"W&B did not take everything in time; 'wandb sync {folder}' sends the rest\n"
    )
    assert history(recorded(tmp_path, "run")) == LOGGED
    assert last(recorded(tmp_path, "run"), "summary")["pass@1"] == 0.25


@contextmanager
def forgetful_server(answers: int) -> Iterator[int]:
    """A W&B server on a loopback port that opens a run, and after so many answers says nothing to anybody."""
    opened = {
        "RunResumeStatus": {"model": {"id": "p", "name": "proj", "entity": {"id": "e", "name": "me"}, "bucket": None}},
        "UpsertBucket": {
            "upsertBucket": {
                "inserted": True,
                "bucket": {
                    "id": "b", "name": "run-7", "displayName": "run-7", "config": "{}", "historyLineCount": 0,
                    "project": {"id": "p", "name": "proj", "entity": {"id": "e", "name": "me"}},
                },
            }
        },
    }  # fmt: skip
    ended, asked = threading.Event(), iter(range(1_000_000))

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if next(asked) >= answers:
                ended.wait()
                return
            answer = json.dumps({"data": opened[json.loads(body)["operationName"]]}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            ended.set()
            server.shutdown()
            thread.join()


@pytest.mark.slow
def test_a_key_in_the_settings_reaches_no_file_of_the_run(tmp_path: Path) -> None:
    words = ["--config", "config/smoke.yaml", "--num_tasks", "2", "--output_dir", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "main.py", *words, "--set", "engine=scripted", "wandb=offline", f"wandb_api_key={KEY}"],
        cwd=ROOT,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("run/wandb/offline-run-*/*.wandb"))
    assert not KEY_AS_SENT.search(everything_written(tmp_path) + done.stdout + done.stderr)


def everything_written(folder: Path) -> str:
    return "".join(path.read_bytes().decode(errors="replace") for path in folder.rglob("*") if path.is_file())
