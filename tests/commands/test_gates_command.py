"""Gates end a real command with exit code 3 and one line, after all files are written."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from human_eval_runner import canonical_solutions
from tests.support.command_line import SMOKE, swarmeval

pytestmark = pytest.mark.slow


@pytest.fixture
def replies(tmp_path: Path) -> Path:
    """Replies to two tasks, of which one is right."""
    path, right = tmp_path / "replies.jsonl", canonical_solutions()["HumanEval/0"]
    lines = [{"task_id": "HumanEval/0", "completion": right}, {"task_id": "HumanEval/1", "completion": "    pass\n"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_score_below_the_gate_ends_with_3_and_the_files_of_the_run(replies: Path, tmp_path: Path) -> None:
    folder, junit = tmp_path / "out", tmp_path / "ci" / "junit.xml"
    words = ("score", str(replies), "--output_dir", str(folder), "--set", "eval_timeout_scale=1")
    code, out, err = swarmeval(*words, "--fail-under", "pass@1=0.6", "pass@1=0.5", "--junit", str(junit))
    assert (code, err.splitlines()[-1]) == (3, "swarmeval: pass@1 is 0.5, below 0.6; --fail-under pass@1=0.6"), out
    assert json.loads((folder / "score.json").read_text())["pass@1"] == 0.5
    suite = ElementTree.parse(junit).getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("4", "2")
    assert swarmeval(*words, "--fail-under", "pass@1=0.5")[0] == 0


def test_a_wrong_gate_is_refused_before_anything_is_created(replies: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    code, _, err = swarmeval("score", str(replies), "--output_dir", str(folder), "--fail-under", "pass@1=60")
    assert (code, folder.exists()) == (2, False)
    assert err == (
        "swarmeval: --fail-under: 'pass@1=60': 60 is not a share; write a number above 0 and up to 1, such as 0.6\n"
    )


def test_a_run_and_a_comparison_have_gates_too(tmp_path: Path) -> None:
    words = ("--num_tasks", "40", "--num_agents", "2", *SMOKE)
    code, _, err = swarmeval("--output_dir", str(tmp_path / "bad"), *words[:4], "--fail-under", "pass@1=0.5", *SMOKE)
    assert (code, err.splitlines()[-1]) == (3, "swarmeval: pass@1 is 0, below 0.5; --fail-under pass@1=0.5")
    solutions = tmp_path / "right.jsonl"
    tasks = list(canonical_solutions().items())[:40]
    lines = [{"task_id": task, "completion": text} for task, text in tasks]
    solutions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text("".join(json.dumps(line | {"completion": "    pass\n"}) + "\n" for line in lines))
    for name in ("right", "wrong"):
        judged = swarmeval(
            "score", str(tmp_path / f"{name}.jsonl"), "--num_tasks", "40", "--output_dir", str(tmp_path / name),
            "--set", "eval_timeout_scale=1",
        )  # fmt: skip
        assert judged[0] == 0, judged
    code, _, err = swarmeval("compare", str(tmp_path / "right"), str(tmp_path / "wrong"), "--fail-on", "regression")
    assert (code, err) == (
        3, "swarmeval: B is worse than A (-100.0 points of pass@1, 95 % CI below zero); --fail-on regression\n",
    )  # fmt: skip
    better = swarmeval("compare", str(tmp_path / "wrong"), str(tmp_path / "right"), "--fail-on", "regression")
    assert (better[0], better[2]) == (0, "")
