"""score() and load_tasks(): the figures of `python main.py score`, in memory."""

import json
from pathlib import Path

import pytest

from swarmeval import ConfigError, DataError, Judge, extract, load_tasks, score
from tests.support.command_line import swarmeval

TASKS = load_tasks(limit=3)
RIGHT: list[dict[str, object]] = [{"task_id": task.task_id, "completion": task.reference} for task in TASKS]
REPLIES: list[dict[str, object]] = [
    *RIGHT,
    {"task_id": "HumanEval/0", "reply": "no code", "sample": 7},
    {"task_id": "HumanEval/1", "solution": "def separate_paren_groups(text):\n    return []"},
]


@pytest.mark.slow
def test_a_score_equals_that_of_the_command(tmp_path: Path) -> None:
    file = tmp_path / "replies.jsonl"
    file.write_text("".join(f"{json.dumps(reply)}\n" for reply in REPLIES), encoding="utf-8")
    folder = tmp_path / "run"
    code, _, err = swarmeval(
        "score", str(file), "--output_dir", str(folder), "--set", "eval_timeout_scale=1", "humaneval_limit=4"
    )
    assert code == 0, err
    command = json.loads((folder / "score.json").read_text(encoding="utf-8"))
    with Judge(eval_workers=2, eval_timeout_scale=1.0) as judge:
        found = score(file, load_tasks(limit=4), judge=judge)
        listed = score(REPLIES, load_tasks(limit=4), judge=judge)
        strict = score(RIGHT, load_tasks(limit=4), missing="fail", judge=judge)
    assert found.pass_at_k == {k: command[f"pass@{k}"] for k in (1, 10, 100)}
    assert found.pass_at_1 == pytest.approx(2 / 3)
    ends = {k: command["intervals"][f"pass@{k}"] for k in (1, 10, 100)}
    assert found.intervals == {k: pair and tuple(pair) for k, pair in ends.items()}
    assert (found.tasks, found.replies, found.passed) == (command["total"], command["evaluations"], command["passed"])
    assert found.outcomes == command["outcomes"]
    assert found.undefined == {key: why for key, why in command["undefined"].items() if key.startswith("pass@")}
    assert found.missing_tasks == ("HumanEval/3",)
    assert [verdict.passed for verdict in found.verdicts] == [True, True, True, False, False]
    assert (listed.pass_at_k, listed.intervals) == (found.pass_at_k, found.intervals)
    assert (strict.pass_at_1, strict.missing_tasks) == (0.75, ("HumanEval/3",))


@pytest.mark.parametrize(
    ("replies", "text"),
    [
        ([], "score: there are no replies"),
        ([{"task_id": "HumanEval/9", "reply": ""}], "reply 1: task_id 'HumanEval/9' is not among the tasks"),
        ([{"task_id": "HumanEval/0"}], "reply 1: has no reply; give exactly one of reply, completion, solution"),
        (
            [RIGHT[0], {**RIGHT[0], "sample": 0}],
            "score: job 0/HumanEval/0/0/0 is listed twice; give its replies different values of sample",
        ),
    ],
)
def test_replies_that_cannot_be_scored_are_refused(replies: list[dict[str, object]], text: str) -> None:
    with pytest.raises(DataError) as caught:
        score(replies, TASKS)
    assert str(caught.value) == text


def test_unclear_arguments_are_refused() -> None:
    with pytest.raises(DataError, match=r"^score: two tasks have the task_id 'HumanEval/1'; give each its own$"):
        score(RIGHT, [*TASKS, TASKS[1]])
    with pytest.raises(ValueError, match=r"^missing is 'error'; use warn or fail$"):
        score(RIGHT, TASKS, missing="error")  # type: ignore[arg-type]


def test_a_reply_of_another_type_is_refused() -> None:
    with pytest.raises(DataError, match=r"^reply 1: not a reply \(Object of type bytes is not JSON serializable\); "):
        score([{"task_id": "HumanEval/0", "completion": b"    return False"}], TASKS)
    with pytest.raises(DataError, match=r"^reply 1: not a reply \(Expected `str \| null`, got `int`.*docs/scoring.md"):
        score([{"task_id": "HumanEval/0", "reply": 5}], TASKS)


def test_tasks_are_selected_by_number_and_name() -> None:
    assert [task.task_id for task in load_tasks(task_ids=["HumanEval/16?"])] == [f"HumanEval/16{n}" for n in range(4)]
    with pytest.raises(ConfigError, match=r"^benchmark is 'humanevil'; did you mean 'humaneval'\?$"):
        load_tasks("humanevil")


def test_extraction_finds_the_code_of_a_reply() -> None:
    task = TASKS[2]
    found = extract("Sure:\n```python\ndef truncate_number(number):\n    return number % 1.0\n```\nDone.", task)
    assert (found.outcome, "number % 1.0" in found.code, "Done" in found.code) == (None, True, False)
    assert str(extract("I am sorry \ud83d", task).outcome) == "EMPTY"
    assert "surrogate" in extract("    return number % 1.0 # \ud83d", task).note
