"""Run(folder) and compare(): what other programs read from run folders."""

from pathlib import Path

import pytest

from swarmeval import DataError, Failure, Outcome, Run, compare
from tests.support.run_folders import Answer, answers, finished_run, leave, plan_of

FAILED: Answer = (Failure("2/HumanEval/0/0/0", "the worker died", 3), None)


def run_of(folder: Path, passes: int = 1) -> Path:
    """A finished run of one task: two judged replies and a failure."""
    return finished_run(folder, [*answers(("a reply", "another"), passes), FAILED])


def test_a_run_gives_its_replies_failures_and_verdicts(tmp_path: Path) -> None:
    run = Run(run_of(tmp_path))
    assert [completion.reply for completion in run.completions()] == ["a reply", "another"]
    assert [failure.reason for failure in run.failures()] == ["the worker died"]
    assert [(verdict.job_id, verdict.passed) for verdict in run.verdicts()] == [
        ("0/HumanEval/0/0/0", True),
        ("1/HumanEval/0/0/0", False),
    ]
    assert (run.run_id, run.finished, run.score["pass@1"]) == ("20270115-080000-abcdef", True, 0.5)


def test_a_run_gives_the_results_of_tasks_and_agents(tmp_path: Path) -> None:
    run = Run(run_of(tmp_path))
    (task,) = run.tasks()
    assert (task.task_id, task.verdicts, task.passed, task.pass_at_1) == ("HumanEval/0", 2, 1, 0.5)
    assert task.outcomes == {"NOT_GENERATED": 1, "PASSED": 1, "TAMPERED": 1}
    first, _, last = run.agents()
    assert (first.agent_id, first.pass_at_1, first.jobs, first.output_tokens) == (0, 1.0, 1, 10)
    assert first.interval is not None
    assert (last.pass_at_1, last.outcomes) == (None, {"NOT_GENERATED": 1})


@pytest.mark.slow
def test_a_run_becomes_a_table_with_one_row_per_job(tmp_path: Path) -> None:
    table = Run(run_of(tmp_path)).to_pandas()
    assert list(table.index) == ["0/HumanEval/0/0/0", "1/HumanEval/0/0/0", "2/HumanEval/0/0/0"]
    assert list(table["outcome"]) == ["PASSED", "TAMPERED", "NOT_GENERATED"]
    assert list(table["passed"].dropna()) == [True, False]
    assert list(table["agent"]) == [0, 1, 2]
    assert table["output_tokens"].sum() == 21
    assert table.loc["0/HumanEval/0/0/0", "reply"] == "a reply"
    assert table.groupby("task")["passed"].count().to_dict() == {"HumanEval/0": 2}


@pytest.mark.slow
def test_a_run_without_answers_becomes_an_empty_table(tmp_path: Path) -> None:
    leave(tmp_path, *plan_of(1, 1), [], finished=False)
    table = Run(tmp_path).to_pandas()
    assert len(table) == 0
    assert {"outcome", "passed", "latency_s"} <= set(table.columns)


def test_an_unfinished_run_gives_what_there_is(tmp_path: Path) -> None:
    leave(tmp_path, *plan_of(1, 2), answers(("a reply",)), finished=False)
    run = Run(tmp_path)
    assert [verdict.outcome for verdict in run.verdicts()] == [Outcome.TAMPERED]
    for read, name in ((run.tasks, "task_summary.json"), (run.agents, "agent_summary.json")):
        with pytest.raises(DataError) as caught:
            read()
        assert str(caught.value) == f"{tmp_path / name}: missing; finish the run first"


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        Run(tmp_path)
    assert str(caught.value) == f"{tmp_path}: not a run folder (no manifest.json)"


def test_a_broken_summary_is_refused(tmp_path: Path) -> None:
    run = Run(run_of(tmp_path))
    (tmp_path / "task_summary.json").write_text('{"HumanEval/0": 3}', encoding="utf-8")
    text = f"{tmp_path / 'task_summary.json'}: cannot be read (Expected `object`, got `int` - at `$[...]`); "
    with pytest.raises(DataError) as caught:
        run.tasks()
    assert str(caught.value) == f"{text}repeat the run with this version"


def test_two_runs_are_compared_by_folder_or_run(tmp_path: Path) -> None:
    one, other = run_of(tmp_path / "a", passes=0), run_of(tmp_path / "b", passes=2)
    result = compare(one, Run(other))
    assert (result.difference, result.gained, result.lost) == (1.0, ("HumanEval/0",), ())
    assert compare(str(other), one).difference == -1.0


def test_runs_that_were_judged_differently_are_not_compared(tmp_path: Path) -> None:
    one = run_of(tmp_path / "a")
    other = finished_run(tmp_path / "b", answers(), eval_timeout=3.0)
    with pytest.raises(DataError) as caught:
        compare(one, other)
    text = "they were judged differently: eval_timeout is 10.0 and 3.0"
    assert str(caught.value) == f"{one} and {other} cannot be compared: {text}"
