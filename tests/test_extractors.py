"""Other harnesses' rules do what their projects publish, and are set beside ours on the same replies."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import extractors
from bench.records import Suite, Task
from human_eval_runner import canonical_solutions, load_tasks

ROOT = Path(__file__).resolve().parent.parent
TASK = Task("T/0", "def f(x):\n", Suite("f", ""))
FENCED = "Sure:\n```python\ndef f(x: int) -> int:\n    y = x\n    return y\n```\nDone."


@pytest.mark.parametrize(
    ("rule", "reply", "wanted"),
    [
        ("human-eval", FENCED, FENCED),
        ("bigcode", "    return x\n# more\ny", "    return x"),
        ("bigcode", "    return x\n@cache\ndef g(): 1", "    return x"),
        ("bigcode", FENCED, "Sure:"),
        ("lm-eval humaneval", "    return x\n@cache\ndef g(): 1", "    return x\n@cache"),
        ("lm-eval humaneval_instruct", "    return x\n```\nThat was it.", "    return x\n"),
        ("lm-eval humaneval_instruct", FENCED, "Sure:\n"),
        ("simple-evals", FENCED, "    y = x\n    return y\n"),
        ("simple-evals", "```\ndef f(x):\n    return x\n```", "    return x\n```"),
        ("simple-evals", "    return x", "   return x"),  # its find() gives -1, and it cuts at 1
        ("inspect_evals", "Text:\n    quoted\n```\ndef f(x):\n    return x\n```", "    return x\n"),
    ],
)
def test_a_rule_makes_of_a_reply_what_its_project_would(rule: str, reply: str, wanted: str) -> None:
    assert extractors.rules()[rule](reply, TASK) == wanted


def score(replies: list[dict[str, str]], folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "replies.jsonl"
    path.write_text("".join(json.dumps(reply) + "\n" for reply in replies))
    words = ["score", str(path), "--extractors", "all", "--output_dir", str(folder / "out"), "--eval_workers", "2"]
    command = [sys.executable, "main.py", *words, "--set", "eval_timeout_scale=1.0"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_same_replies_are_judged_under_every_rule(tmp_path: Path) -> None:
    tasks, solutions = load_tasks(3), canonical_solutions()
    bodies = [solutions[task.task_id] for task in tasks]
    replies = [
        {"task_id": tasks[0].task_id, "reply": bodies[0]},
        {"task_id": tasks[1].task_id, "reply": f"Sure!\n```python\n{tasks[1].prompt}{bodies[1]}```\nDone."},
        {"task_id": tasks[2].task_id, "reply": "I cannot."},
    ]
    done = score(replies, tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "extractors.json").read_text())
    passes = {name: {job.split("/")[2] for job in rule["passed"]} for name, rule in found.items()}
    assert passes.pop("ours") == {"0", "1"}
    assert passes["human-eval"] == passes["bigcode"] == passes["lm-eval humaneval_instruct"] == {"0"}
    assert "1" in passes["simple-evals"] & passes["inspect_evals"]
    assert found["ours"]["pass@1"] == 2 / 3
    assert "human-eval                     33.3%       1\n    loses 1: HumanEval/1\n" in done.stdout


@pytest.mark.slow
def test_code_that_was_extracted_already_is_refused(tmp_path: Path) -> None:
    done = score([{"task_id": "HumanEval/0", "completion": "    return True"}], tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("swarmeval: --extractors: no line of the file has a raw reply")
