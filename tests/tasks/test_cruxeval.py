"""CRUXEval: an expression is the answer, judged by calls, and prompts are the published ones."""

import asyncio
import json
from pathlib import Path

import pytest

from human_eval_runner import Judge, program
from swarmeval.extraction.candidate import candidate
from swarmeval.records import Execution, Form, Outcome, Task
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.sandbox.calibration import References
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import load
from tests.support.checkout import ROOT
from tests.support.sandbox_runs import run_all

PUBLISHED = ROOT.parent / "shared" / "data" / "cruxeval.jsonl"
ROW = {
    "code": "def f(text, times):\n    if not times:\n        raise ValueError(text)\n    return text * times, {times}",
    "input": "'{ab}', 2",
    "output": "('{ab}{ab}', {2})",
    "id": "sample_900",
}


def task(folder: Path, name: str) -> Task:
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(ROW))
    (found,) = load(name, str(path)).tasks
    return found


def ends(one: Task, *expressions: str) -> list[Execution]:
    """The executions of expressions, each in its place in the program."""
    return run_all(*(program(one, expression) for expression in expressions))


def tried(*tasks: Task) -> References:
    async def session() -> References:
        async with Judge(tasks, 2, 10.0, 4096) as judge:
            return await judge.try_references()

    return asyncio.run(session())


@pytest.mark.parametrize("name", ["cruxeval_i", "cruxeval_o"])
def test_both_modes_ask_with_the_published_prompt(tmp_path: Path, name: str) -> None:
    one = task(tmp_path, name)
    plan, config = Plan(make_agents(RunConfig()), [one]), RunConfig()
    chat, raw = (make_request(plan, 0, mode, config) for mode in ("chat", "completion"))
    assert raw.text == chat.messages[0].content == one.question
    assert raw.sampling.stop == ("[/ANSWER]",)
    last = {"cruxeval_i": "assert f(??) == ('{ab}{ab}', {2})", "cruxeval_o": "assert f('{ab}', 2) == ??"}[name]
    assert one.question.endswith(f"\n{ROW['code']}\n{last}\n[/PYTHON]\n[ANSWER]\n")
    assert one.question.count("[ANSWER]\nassert f(") == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cruxeval_i", "cruxeval_o"])
def test_the_published_answer_passes(tmp_path: Path, name: str) -> None:
    assert tried(task(tmp_path, name)) == References({}, {}, ())


@pytest.mark.slow
def test_any_input_with_that_output_passes_but_only_through_f(tmp_path: Path) -> None:
    one = task(tmp_path, "cruxeval_i")
    other, wrong, raises = ends(one, "f(times=2, text='{ab}')", "f('{ab}', 3)", "f('', 0)")
    assert other.outcome is Outcome.PASSED
    assert wrong.outcome is Outcome.WRONG_ANSWER
    assert raises.outcome is Outcome.RAISED
    forms: tuple[Form, ...] = ("reply", "completion", "solution")
    for form in forms:
        without = candidate("('{ab}{ab}', {2})", form, one)
        assert (without.outcome, without.error) == (
            Outcome.BAD_SYNTAX,
            "the answer is not a call of f with plain arguments",
        )
    assert one.ending == task(tmp_path, "cruxeval_o").ending


@pytest.mark.slow
def test_an_output_is_judged_without_the_function(tmp_path: Path) -> None:
    right, wrong, called = ends(task(tmp_path, "cruxeval_o"), "('{ab}' * 2, {2})", "('', {2})", "f('{ab}', 2)")
    assert (right.outcome, wrong.outcome, called.outcome) == (
        Outcome.PASSED,
        Outcome.WRONG_ANSWER,
        Outcome.RAISED,
    )


@pytest.mark.slow
@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published files are not beside this checkout")
@pytest.mark.parametrize("name", ["cruxeval_i", "cruxeval_o"])
def test_all_published_answers_pass(name: str) -> None:
    tasks = load(name, str(PUBLISHED)).tasks
    assert len(tasks) == 800
    assert tried(*tasks) == References({}, {}, ())
