"""Whole runs with servers: every job is answered once, whatever they do, and no file contains the key."""

import csv
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from swarmeval.runs.folder import LOCK
from tests.support.checkout import ROOT
from tests.support.faulty_server import Act, FaultyServer, in_a_thread

KEY = "sk-planted-7c1f"

pytestmark = pytest.mark.slow


def swarmeval(folder: Path, *settings: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a small evaluation of a served model."""
    words = [sys.executable, "main.py", "--config", "config/smoke.yaml", "--output_dir", str(folder), "--set"]
    model = () if any(word.startswith("model_id=") for word in settings) else ("model_id=tiny",)
    words += ["fleet=endpoint", "eval_timeout_scale=1.0", *model, *settings]
    environ = {**os.environ, "OPENAI_API_KEY": KEY, **env}
    return subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=280, check=False)


def manifest(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())


def replies(folder: Path) -> list[str]:
    return sorted(
        json.loads(line)["job_id"]
        for path in folder.glob("agent_*_results.jsonl")
        for line in path.read_text().splitlines()
    )


def test_two_faulty_servers_answer_every_job_and_no_file_holds_the_key(tmp_path: Path) -> None:
    servers = [FaultyServer(piece_s=0.002), FaultyServer(piece_s=0.002)]
    for server in servers:
        server.key = KEY
        server.plan.extend([
            Act(),
            Act("status", 429, {"Retry-After": "0.3"}, {"error": f"Bearer {KEY} comes too often"}),
            Act("half"), Act("reset"), Act("status", 500, content=KEY.encode()), Act("garbage"), Act("html"),
            Act(headers={"finish_reason": "length"}), Act(content=""),
        ])  # fmt: skip
    with ExitStack() as serving:
        for server in servers:
            serving.enter_context(in_a_thread(server))
        urls = ", ".join(server.url for server in servers)
        done = swarmeval(
            tmp_path, f"endpoint.urls=[{urls}]", "verbose=true", "trace=true", "endpoint.concurrency=4", "audit.jobs=2"
        )
    assert done.returncode == 0, done.stderr
    assert len(set(replies(tmp_path))) == len(replies(tmp_path)) == 16
    told = manifest(tmp_path)
    assert [told["replicas"][f"endpoint:{k}"]["device"] for k in (0, 1)] == [server.url for server in servers]
    assert told["prompts"] == {"prompt_mode": "chat", "chat_template_sha256": None}
    assert told["replies_repeat"] == "as far as the servers obey seeds and form the same batches"
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["device"] for row in rows} == {"endpoint:0", "endpoint:1"}
    assert {row["finish_reason"] for row in rows} == {"stop", "length"}
    assert "energy" not in json.loads((tmp_path / "score.json").read_text())
    assert KEY not in done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


class DraftingServer(FaultyServer):
    """A server whose page of metrics grows with its answers: three of five drafted tokens are accepted."""

    @property
    def metrics(self) -> str | None:
        drafts = len(self.requests)
        counts = {"drafts": drafts, "draft_tokens": 5 * drafts, "accepted_tokens": 3 * drafts}
        return "".join(f"vllm:spec_decode_num_{name}_total {count}.0\n" for name, count in counts.items())

    @metrics.setter
    def metrics(self, page: str | None) -> None:
        assert page is None


def test_the_acceptance_of_a_servers_drafts_goes_into_the_score(tmp_path: Path) -> None:
    with in_a_thread(DraftingServer()) as server:
        done = swarmeval(tmp_path, f"endpoint.urls=[{server.url}]")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "score.json").read_text())["speculation"] == {
        "verifications": 16, "accepted_tokens": 48, "draft_tokens": 80, "acceptance_rate": 0.6,
        "accepted_per_verification": 3.0,
    }  # fmt: skip
    words = "drafts 60.0 % of 80 drafted tokens accepted; 3.00 drafted tokens accepted per step"
    assert words in " ".join(done.stdout.split())


def test_a_run_whose_server_is_lost_ends_with_2_and_the_command_resumes_it(tmp_path: Path) -> None:
    server = FaultyServer()
    server.plan.extend([Act()] * 5)
    server.always, server.spare_probes = Act("status", 503, content={"error": "no engine"}), True
    with in_a_thread(server):
        words = (f"endpoint.urls=[{server.url}]", "endpoint.concurrency=1", "workers.timeout_s=0.2")
        lost = swarmeval(tmp_path, *words)
        assert lost.returncode == 2, lost.stderr
        last = lost.stderr.splitlines()[-1]
        assert last.startswith("swarmeval: no device is left (endpoint:0: ")
        assert last.endswith(
            "HTTP 503: no engine, and no answer for 0.2 s); fix this, then repeat the command to resume"
        )
        score = json.loads((tmp_path / "score.json").read_text())
        assert (score["failures"], score["partial"]) == (0, True)
        before = (tmp_path / "journal.jsonl").read_bytes()
        server.always = None
        assert swarmeval(tmp_path, *words).returncode == 0
    assert len(set(replies(tmp_path))) == 16
    assert (tmp_path / "journal.jsonl").read_bytes().startswith(before)


@pytest.mark.parametrize(
    ("settings", "env", "reason"),
    [
        ([], {"OPENAI_API_KEY": "sk-wrong"}, "rejects the key in OPENAI_API_KEY (HTTP 401: "),
        (["model_id=huge"], {}, "serves 'tiny', but not model_id 'huge'; set model_id to a served name"),
        (["prompt_mode=completion"], {}, "does not know this model or path (HTTP 404: Not Found); fix "),
    ],
)
def test_user_errors_are_one_line_and_exit_code_2(
    tmp_path: Path, settings: list[str], env: dict[str, str], reason: str
) -> None:
    server = FaultyServer()
    server.key, server.completions = KEY, False
    with in_a_thread(server):
        done = swarmeval(tmp_path, f"endpoint.urls=[{server.url}]", *settings, **env)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"swarmeval: {server.url}: {reason}")
    assert "sk-wrong" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["run", "loadtest"])
def test_a_server_that_cannot_answer_is_found_before_files_are_moved(tmp_path: Path, command: str) -> None:
    server = FaultyServer()
    with in_a_thread(server):
        assert swarmeval(tmp_path, f"endpoint.urls=[{server.url}]").returncode == 0
        before = contents(tmp_path)
        lacks = refused(command, tmp_path, f"endpoint.urls=[{server.url}]", "model_id=huge")
    assert lacks == f"swarmeval: {server.url}: serves 'tiny', but not model_id 'huge'; set model_id to a served name"
    down = refused(command, tmp_path, f"endpoint.urls=[{server.url}]", "model_id=tiny")
    assert down == (
        f"swarmeval: no server answers (endpoint:0: {server.url}: cannot connect (Connection refused)); "
        "start one, or name another in endpoint.urls"
    )
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[Path, bytes]:
    """The contents of every file except the lock, which holds the last process's id."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != LOCK}


def refused(command: str, folder: Path, *settings: str) -> str:
    """The error line of a command that must end with exit code 2 before the judge is calibrated."""
    words = [sys.executable, "main.py", *([] if command == "run" else [command]), "--output_dir", str(folder)]
    words += ["--config", "config/smoke.yaml" if command == "run" else "config/loadtest.yaml"]
    words += ["--set", "fleet=endpoint", *settings]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    *others, line = done.stderr.splitlines()
    assert not [other for other in others if "endpoint:0" in other]
    return line


def test_one_server_of_two_is_enough_to_start(tmp_path: Path) -> None:
    server = FaultyServer()
    with in_a_thread(server):
        done = swarmeval(tmp_path, f"endpoint.urls=[http://127.0.0.1:9/v1, {server.url}]")
    assert done.returncode == 0, done.stderr
    assert len(set(replies(tmp_path))) == 16


def test_samples_share_requests_and_in_completion_mode_a_prompt_is_text(tmp_path: Path) -> None:
    server = FaultyServer()
    server.chat = False
    with in_a_thread(server):
        done = swarmeval(tmp_path, f"endpoint.urls=[{server.url}]", "endpoint.samples=auto", "num_samples=4")
    assert done.returncode == 0, done.stderr
    assert len(set(replies(tmp_path))) == 64
    assert sum(body.get("n", 1) for body in server.requests) == 64
    assert max(body.get("n", 1) for body in server.requests) == 8
    assert all("prompt" in body for body in server.requests)
    assert manifest(tmp_path)["replies_repeat"].startswith("not: jobs share requests")


def test_the_doctor_checks_the_servers() -> None:
    server = FaultyServer()
    with in_a_thread(server):
        words = ["--config", "config/smoke.yaml", "--set", "fleet=endpoint", "sandbox.mode=none", "model_id=tiny"]
        words.append(f"endpoint.urls=[{server.url}, http://127.0.0.1:9/v1]")
        done = subprocess.run(
            [sys.executable, "main.py", "doctor", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert f"server      {server.url}: tiny, chat; vllm 0.0.1; serves tiny; output tokens: as reported" in done.stdout
    assert "UNFIT server      endpoint:1: http://127.0.0.1:9/v1: cannot connect (" in done.stdout
    assert done.returncode == 2
