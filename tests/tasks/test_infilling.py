"""HumanEval infilling: the derived tasks are the published ones, and what was removed from a solution fills its gap."""

import asyncio
import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from human_eval_runner import Judge, load_tasks, program, reference_program
from swarmeval.errors import ConfigError, DataError
from swarmeval.records import Completion, Execution, Outcome, Program, Task
from swarmeval.sandbox.runner import Sandbox
from swarmeval.tasks.catalog import load

SINGLE, MULTI, RANDOM = (f"humaneval_infilling_{kind}" for kind in ("single_line", "multi_line", "random_span"))
# Of the published rows of commit 88062ff of openai/human-eval-infilling, as in `published`.
SUMS = {
    SINGLE: "20d110d621c70508330c07925f85ffba467fcb16886f14f45c21ea1a22ec9c5c",
    MULTI: "e8a4500fd8f9f7da68e326445e5b4f7bf33a73a0babc679915d5c0c71c95faba",
}


def published(task: Task) -> dict[str, str]:
    """A task in the form of the published files."""
    test = task.suite.text.removesuffix(f"\ncheck({task.entry_point})")
    fields = (task.task_id, task.prompt, task.reference, task.ending, test, task.entry_point)
    return dict(zip(("task_id", "prompt", "canonical_solution", "suffix", "test", "entry_point"), fields, strict=True))


def executions(programs: Sequence[Program]) -> list[Execution]:
    async def session() -> list[Execution]:
        async with Sandbox(2, 10.0, 2048) as sandbox:
            return await asyncio.gather(*map(sandbox.run, programs))

    return asyncio.run(session())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count", "ends"),
    [
        (SINGLE, 1033, ("SingleLineInfilling/HumanEval/0/L0", "SingleLineInfilling/HumanEval/163/L3")),
        (MULTI, 5815, ("MultiLineInfilling/HumanEval/0/L0_L0", "MultiLineInfilling/HumanEval/163/L3_L3")),
    ],
)
def test_derived_tasks_equal_the_published_ones(name: str, count: int, ends: tuple[str, str]) -> None:
    tasks = load(name).tasks
    assert (len(tasks), tasks[0].task_id, tasks[-1].task_id) == (count, *ends)
    digest = hashlib.sha256()
    for task in tasks:
        digest.update(json.dumps(list(published(task).values())).encode())
    assert digest.hexdigest() == SUMS[name]


def test_a_gap_has_the_lines_that_its_name_says() -> None:
    whole, tasks = load_tasks(1)[0], {task.task_id: task for task in load(MULTI).tasks[:28]}
    task = tasks["MultiLineInfilling/HumanEval/0/L1_L2"]
    lines = whole.reference.splitlines(keepends=True)
    assert (task.prompt, task.reference, task.ending) == (
        whole.prompt + lines[0], "".join(lines[1:3]), "".join(lines[3:])
    )  # fmt: skip
    assert (task.infilling, task.stops, task.suite) == (True, (), whole.suite)


@pytest.mark.parametrize("name", [SINGLE, RANDOM])
def test_a_published_file_gives_the_same_tasks(name: str, tmp_path: Path) -> None:
    derived, file = load(SINGLE).tasks[:9], tmp_path / "published.jsonl"
    file.write_text("".join(f"{json.dumps(published(task))}\n" for task in derived))
    assert load(name, str(file)).tasks == derived


def test_random_spans_come_from_the_published_file_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(RANDOM)
    assert str(refused.value) == (
        "benchmark: humaneval_infilling_random_span needs benchmark_file; set it to "
        "HumanEval-RandomSpanInfilling.jsonl.gz of github.com/openai/human-eval-infilling"
    )
    file = tmp_path / "other.jsonl"
    file.write_text('{"task_id": "a", "prompt": "b"}\n')
    with pytest.raises(DataError) as unread:
        load(RANDOM, str(file))
    assert str(unread.value) == (
        f"{file}: task 1: Object missing required field `suffix`; docs/adding-a-benchmark.md has the formats"
    )


def test_a_gap_in_the_middle_of_a_line_is_filled_as_it_is(tmp_path: Path) -> None:
    whole, file = published(load(SINGLE).tasks[0]), tmp_path / "spans.jsonl"
    text = whole["prompt"] + whole["canonical_solution"] + whole["suffix"]
    start, end = text.index("x, elem in"), text.index("umerate(numbers):")
    span = {"prompt": text[:start], "canonical_solution": text[start:end], "suffix": text[end:]}
    file.write_text(json.dumps({**whole, **span, "task_id": "RandomSpanInfilling/HumanEval/0/1"}) + "\n")
    task = load(RANDOM, str(file)).tasks[0]
    assert (task.prompt[-1], task.reference, task.ending[:5]) == ("d", "x, elem in en", "umera")
    assert reference_program(task).solution == text


def test_all_gaps_in_a_solution_make_the_same_programs() -> None:
    def programs(name: str) -> set[Program]:
        return {reference_program(task) for task in load(name).tasks}

    assert programs(SINGLE) == programs(MULTI)


@pytest.mark.slow
def test_thirty_references_pass_and_what_fits_no_gap_does_not() -> None:
    tasks = random.Random(0).sample(load(SINGLE).tasks, 30)
    assert {end.outcome for end in executions([reference_program(task) for task in tasks])} == {Outcome.PASSED}
    wrong = executions([program(task, "        raise KeyError\n" if task.ending else "return\n") for task in tasks])
    assert Outcome.PASSED not in {end.outcome for end in wrong}


@pytest.mark.slow
def test_completions_fill_their_gaps_unchanged() -> None:
    tasks = [task for task in load(SINGLE).tasks if "/HumanEval/0/" in task.task_id]
    spoiled = [f"{task.reference.rstrip()} +\n" for task in tasks]

    async def outcomes() -> list[Outcome]:
        async with Judge(tasks, 2, 10.0, 2048) as judge:
            texts = [(task, task.reference) for task in tasks] + list(zip(tasks, spoiled, strict=True))
            judged = (judge.judge(Completion(f"0/{task.task_id}/0/0", text, "completion")) for task, text in texts)
            return [verdict.outcome for verdict in await asyncio.gather(*judged)]

    assert asyncio.run(outcomes()) == [Outcome.PASSED] * len(tasks) + [Outcome.BAD_SYNTAX] * len(tasks)


@pytest.mark.slow
def test_every_reference_passes() -> None:
    async def failed() -> tuple[dict[str, str], tuple[str, ...]]:
        async with Judge(load(SINGLE).tasks, 2, 10.0, 2048) as judge:
            found = await judge.try_references()
            return found.failed, found.unconfirmed

    assert asyncio.run(failed()) == ({}, ())
