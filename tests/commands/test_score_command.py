"""`python main.py score` as a user calls it: its summary, report and files on tasks and settings that are missing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from human_eval_runner import canonical_solutions
from tests.support.checkout import ROOT
from tests.support.command_line import swarmeval
from tests.support.pages import visible_text

pytestmark = pytest.mark.slow

ASKED = 4  # tasks with replies
NAMED = "HumanEval/4 to 163"


@pytest.fixture(scope="module")
def replies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Replies of two agents to HumanEval's first tasks; one of the eight is wrong."""
    path = tmp_path_factory.mktemp("made") / "replies.jsonl"
    lines = [
        {"task_id": task_id, "agent_id": agent, "completion": "    return None\n" if agent > number else text}
        for number, (task_id, text) in enumerate(list(canonical_solutions().items())[:ASKED])
        for agent in (0, 1)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def score(replies: Path, folder: Path, *more: str) -> tuple[list[str], str]:
    """Run `score`; return (lines of stdout, stderr)."""
    words = ["score", str(replies), "--output_dir", str(folder), *more, "--set", "eval_timeout_scale=1.0"]
    done = subprocess.run([sys.executable, "main.py", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines(), done.stderr


def read(folder: Path, name: str = "score.json") -> Any:
    return json.loads((folder / name).read_text())


def test_tasks_without_a_reply_are_warned_of_everywhere(replies: Path, tmp_path: Path) -> None:
    lines, _ = score(replies, tmp_path)
    text = " ".join(" ".join(lines).split())
    assert lines[0].startswith("pass@1     87.5 % (95 % CI ")
    assert "; 7 of 8 answers passed, 4 of 164 tasks warning 160" in text
    assert f"warning 160 tasks have no reply; the score does not cover them: {NAMED} --missing=fail counts" in text
    told = read(tmp_path)
    assert (told["tasks_missing"], told["missing_tasks"], told["missing_counted_as"]) == (160, NAMED, "nothing")
    assert (told["pass@1"], told["total"], told["evaluations"]) == (0.875, 4, 8)
    page = visible_text((tmp_path / "report.html").read_text())
    sentence = f"160 tasks have no reply; the score does not cover them: {NAMED}."
    assert f"partial All 8 answers were judged. {sentence}" in page


def test_missing_tasks_count_as_unsolved_where_that_is_asked_for(replies: Path, tmp_path: Path) -> None:
    lines, _ = score(replies, tmp_path, "--missing=fail")
    assert lines[1] == f"warning    160 tasks have no reply and count as unsolved: {NAMED}"
    told = read(tmp_path)
    assert (told["tasks_missing"], told["missing_counted_as"]) == (160, "unsolved")
    assert told["pass@1"] == pytest.approx(3.5 / 164)
    assert (told["total"], told["evaluations"], told["passed"], sum(told["outcomes"].values())) == (164, 8, 7, 8)
    low, high = told["intervals"]["pass@1"]
    assert low <= told["pass@1"] <= high < 0.1
    assert told["agents"]["max"] == pytest.approx(4 / 164)
    assert read(tmp_path, "status.json")["pass_at_1"] == told["pass@1"]
    tasks = read(tmp_path, "task_summary.json")
    assert (len(tasks), tasks["HumanEval/9"]["pass@1"], tasks["HumanEval/9"]["verdicts"]) == (164, 0.0, 0)
    page = visible_text((tmp_path / "report.html").read_text())
    assert f"160 tasks have no reply and count as unsolved: {NAMED}." in page
    (tmp_path / "score.json").unlink()  # so that the report is made from the journal
    subprocess.run([sys.executable, "main.py", "report", str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    assert "2.1 % pass@1" in visible_text((tmp_path / "report.html").read_text())


def test_tasks_that_were_not_chosen_are_not_missing(replies: Path, tmp_path: Path) -> None:
    lines, _ = score(replies, tmp_path / "chosen", "--num_tasks", str(ASKED))
    assert not [line for line in lines if line.startswith("warning")]
    assert read(tmp_path / "chosen")["tasks_missing"] == 0
    run = ["--config", "config/smoke.yaml", "--num_tasks", "2", "--output_dir", str(tmp_path / "run")]
    words = [sys.executable, "main.py", *run, "--set", "engine=scripted", "eval_timeout_scale=1.0"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "warning" not in done.stdout
    assert read(tmp_path / "run")["tasks_missing"] == 0


def test_a_reply_to_a_task_that_was_not_chosen_is_refused(replies: Path, tmp_path: Path) -> None:
    found = swarmeval("score", str(replies), "--output_dir", str(tmp_path / "out"), "--num_tasks", "2")
    told = f"{replies}, line 5: task_id 'HumanEval/2' is not among the 2 selected tasks; remove its line"
    assert found == (2, "", f"swarmeval: {told}\n")
    assert not (tmp_path / "out").exists()


def test_what_nobody_set_or_measured_is_not_shown_as_if_it_were(replies: Path, tmp_path: Path) -> None:
    lines, _ = score(replies, tmp_path)
    text = " ".join(" ".join(lines).split())
    assert f"replies {replies} (8 lines); generation settings unknown judging 10 s (eval_timeout 10 s x 1)" in text
    assert not [line for line in lines if "tokens/s" in line]
    assert "agents     lowest pass@1 75.0 %, highest 100.0 %" in lines
    page = visible_text((tmp_path / "report.html").read_text())
    assert f"replies {replies} (8 lines) generation settings unknown (imported replies)" in page
    assert "pass@1 per agent: mean 87.5 %, lowest 75.0" in page
    for name in ("max_new_tokens", "load_in_4bit", "repetition_penalty"):
        assert name not in page
    nice = os.getpriority(os.PRIO_PROCESS, 0)  # there are no replicas to yield to
    assert read(tmp_path, "manifest.json")["sandbox"].endswith(f"nice {nice}" if nice else "no_new_privs")
    assert not {"temperature", "model_id", "load_in_4bit"} & read(tmp_path, "manifest.json")["config"].keys()
    assert (read(tmp_path)["output_tokens"], read(tmp_path, "agent_summary.json")[0]["latency"]["mean_s"]) == (
        None, None
    )  # fmt: skip


def test_missing_tasks_and_other_rules_are_refused_together(replies: Path, tmp_path: Path) -> None:
    words = ["score", str(replies), "--output_dir", str(tmp_path), "--missing=fail", "--extractors", "all"]
    done = subprocess.run([sys.executable, "main.py", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    told = "--missing=fail: not possible with --extractors, which compares rules on tasks with replies"
    assert (done.returncode, done.stderr, list(tmp_path.iterdir())) == (2, f"swarmeval: {told}\n", [])


def test_equal_programs_run_once_and_a_resume_finds_them_in_the_journal(replies: Path, tmp_path: Path) -> None:
    lines, _ = score(replies, tmp_path)
    assert "programs   5 executed; 3 answers share the verdict of an equal program" in lines
    journal, manifest = tmp_path / "journal.jsonl", tmp_path / "manifest.json"
    entries = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in entries if not json.loads(line).get("verdict", {}).get("shared")))
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "finished": False}))
    _, messages = score(replies, tmp_path)
    assert "resuming" in messages
    found = read(tmp_path)
    assert (found["evaluations"], found["programs_executed"], found["verdicts_shared"]) == (8, 5, 3)
