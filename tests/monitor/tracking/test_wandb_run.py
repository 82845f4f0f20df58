"""The real wandb, offline and with servers on a loopback port: contents of its files, and the time its end takes."""

import base64
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from swarmeval.monitor.tracking.subject import artifact_files, flat
from swarmeval.settings.run_config import RunConfig
from tests.support.checkout import ROOT

KEY = "0123456789abcdef0123456789abcdef01234567"
KEY_AS_SENT = re.compile(f"{KEY}|{base64.b64encode(f'api:{KEY}'.encode()).decode().rstrip('=')[:-1]}")


def test_nested_scores_get_keys_that_can_be_listed_and_plotted() -> None:
    score = {"pass@1": 0.5, "pass@10": None, "intervals": {"pass@1": [0.4, 0.6]}, "partial": False, "unions": ["a", {}]}
    assert flat(score) == {
        "pass@1": 0.5,
        "intervals/pass@1/low": 0.4,
        "intervals/pass@1/high": 0.6,
        "partial": False,
        "unions/0": "a",
    }


def test_an_artifact_takes_the_key_files_first_and_names_those_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, size in {"agent_0_results.jsonl": 25_000_000, "score.json": 10, "metrics.csv": 19_999_980}.items():
        with (tmp_path / name).open("w") as file:
            file.truncate(size)
    (tmp_path / "agent_0_evaluation.json").write_text("0123456789")
    (tmp_path / "agent_1_evaluation.json").write_text("0")
    (tmp_path / "journal.jsonl").write_text("no result")
    taken, left_out = artifact_files(tmp_path, "W&B")
    assert [path.name for path in taken] == ["score.json", "metrics.csv", "agent_0_evaluation.json"]
    assert left_out == ["agent_1_evaluation.json", "agent_0_results.jsonl"]
    said = "W&B: files left out of the artifact, limited to 20 MB: agent_1_evaluation.json, agent_0_results.jsonl"
    assert caplog.messages == [said]


SCRIPT = """
import sys, time
from pathlib import Path
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.wandb import WandbSettings
from swarmeval.monitor.tracking.making import make_tracker
config = RunConfig(wandb=WandbSettings(mode=sys.argv[1], api_key=sys.argv[2], project="proj", tags=("a", "b")))
folder = Path(sys.argv[3])
(folder / "manifest.json").write_text('{"replicas": {"cpu:0": {"weights": "nf4"}}}')
(folder / "score.json").write_text("{}")
(folder / "report.html").write_text("<p>")
tracker = make_tracker(config, folder, "run-7", {"config": config.model_dump(), "seed": 3})
tracker.opened.wait(float(sys.argv[4]))
for step in range(3):
    tracker.log({"elapsed_s": float(step), "jobs_per_s": 2.0 * step})
began = time.monotonic()
tracker.finish({"pass@1": 0.25, "outcomes": {"PASSED": 2}})
print(f"{time.monotonic() - began:.1f}")
"""


def track(folder: Path, mode: str, wait_s: float = 0, **environ: str) -> tuple[float, str]:
    """Run the real wandb in a new process, with warnings as errors. Returns the seconds of its end, and stderr."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    # wandb warns of its own subprocess if that is killed.
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
    """The records of a .wandb file: seven bytes, then LevelDB's log format with protobuf records."""
    from wandb.proto.wandb_internal_pb2 import Record

    raw = path.read_bytes()
    position, parts = 7, b""
    while position + 7 <= len(raw):
        left = 32768 - position % 32768
        if left < 7:  # the rest of the block is too short for a header
            position += left
            continue
        size, kind = int.from_bytes(raw[position + 4 : position + 6], "little"), raw[position + 6]
        parts += raw[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in {1, 4}:  # a full record, or its last part
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def pairs(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def recorded(folder: Path, kind: str = "offline-run") -> list[Any]:
    (path,) = folder.glob(f"wandb/{kind}-*/run-run-7.wandb")
    return list(records(path))


def history(records: list[Any]) -> list[tuple[float, float]]:
    rows = [pairs(record.history.item) for record in records if record.HasField("history")]
    return [(row["elapsed_s"], row["jobs_per_s"]) for row in rows]


def last(records: list[Any], kind: str) -> dict[str, Any]:
    """The final state after all updates of a run's summary or config."""
    values: dict[str, Any] = {}
    for record in records:
        values.update(pairs(getattr(record, kind).update))
    return values


LOGGED = [(0.0, 0.0), (1.0, 2.0), (2.0, 4.0)]


@pytest.mark.slow
def test_an_offline_run_is_silent_and_holds_config_numbers_and_results(tmp_path: Path) -> None:
    _, said = track(tmp_path, "offline", wait_s=60)
    assert said == ""
    records = recorded(tmp_path)
    run = next(record.run for record in records if record.HasField("run"))
    assert (run.run_id, run.display_name, run.project, list(run.tags)) == ("run-7", "run-7", "proj", ["a", "b"])
    config = pairs(run.config.update)
    assert config["seed"] == 3
    assert config["config"]["batch_size"] == RunConfig.model_validate({}).batch_size
    assert last(records, "config")["replicas"] == {"cpu:0": {"weights": "nf4"}}
    assert history(records) == LOGGED
    summary = last(records, "summary")
    assert (summary["pass@1"], summary["outcomes/PASSED"]) == (0.25, 2)
    (artifact,) = (record.artifact for record in records if record.HasField("artifact"))
    assert (artifact.name, artifact.type) == ("results-run-7", "results")
    assert {entry.path for entry in artifact.manifest.contents} == {"score.json", "manifest.json", "report.html"}


@pytest.mark.slow
def test_a_server_that_refuses_from_the_start_has_the_run_recorded_offline(tmp_path: Path) -> None:
    _, said = track(tmp_path, "online", 60, WANDB_BASE_URL="http://127.0.0.1:9", WANDB_INIT_TIMEOUT="2")
    assert said.startswith("W&B is not available online (CommError: ")
    assert said.endswith("-run-7' to send it\n")
    assert history(recorded(tmp_path)) == LOGGED


@pytest.mark.slow
def test_a_server_that_hangs_from_the_start_costs_seconds_and_no_record(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        took_s, said = track(tmp_path, "online", WANDB_BASE_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert 5 <= took_s < 5 + 5
    assert said.startswith(
        "W&B takes too long; the rest is in wandb/ in the run folder, run 'wandb sync' to send it\n"
        "W&B is not available online (HandleAbandonedError: ); this run is recorded offline, run 'wandb sync "
    )
    assert history(recorded(tmp_path)) == LOGGED
    assert last(recorded(tmp_path), "summary")["pass@1"] == 0.25


@pytest.mark.slow
def test_a_server_that_stops_answering_costs_seconds_and_no_record(tmp_path: Path) -> None:
    with forgetful_server(answers=2) as port:
        took_s, said = track(tmp_path, "online", wait_s=60, WANDB_BASE_URL=f"http://127.0.0.1:{port}")
    assert took_s < 4 + 4 + 5
    folder = next(tmp_path.glob("wandb/run-*"))
    assert said == (
        "W&B did not accept the results as an artifact within 4 s\n"
        f"W&B did not accept everything in time; run 'wandb sync {folder}' to send the rest\n"
    )
    assert history(recorded(tmp_path, "run")) == LOGGED
    assert last(recorded(tmp_path, "run"), "summary")["pass@1"] == 0.25


@contextmanager
def forgetful_server(answers: int) -> Iterator[int]:
    """A W&B server on a loopback port that opens a run and goes silent after `answers` answers."""
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
        [
            sys.executable,
            "main.py",
            *words,
            "--trace",
            "--set",
            "engine=scripted",
            "eval_timeout_scale=1",
            "wandb.mode=offline",
            f"wandb.api_key={KEY}",
        ],
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
