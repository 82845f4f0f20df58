"""Tests that accept trivial answers are found by trying some, and named in doctor and manifest."""

import asyncio
import json
from pathlib import Path

import pytest

from human_eval_runner import Judge
from swarmeval.doctor.judging import trivial_answers
from swarmeval.doctor.trivial_answers import EQUAL, VALUES, TrivialAnswers, try_trivial
from swarmeval.executed import Case, Comparison, Executed, Rule
from swarmeval.records import Suite, Task
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import load
from tests.support.checkout import ROOT
from tests.support.command_line import swarmeval

PUBLISHED = ROOT.parent / "shared" / "data"  # the published files, if present
CONFIG = RunConfig(eval_workers=2)

# EvalPlus' comparison for answers that are floats.
CLOSE = """
import numpy as np
def check(candidate):
    for x, wanted in [(3.5, 0.5), (1.25, 0.25)]:
        found = candidate(x)
        assert found == wanted or np.allclose(found, wanted, rtol=1e-07, atol=1e-6)
"""
ROOTS = """
def value(xs, x):
    return sum(c * x ** i for i, c in enumerate(xs))
def check(candidate):
    for xs in [[-10, -2], [-3, -6, -7, 7]]:
        assert abs(value(xs, candidate(xs))) <= 0.0001
"""
SORTED = "def check(candidate):\n    xs = [3, 1]\n    assert candidate(xs) == sorted(xs)\n"
HONEST = "def check(candidate):\n    assert candidate([3, 1]) == [1, 3]\n    assert candidate([2]) == [2]\n"
ANYTHING = "def check(candidate):\n    assert candidate([3, 1]) == [1, 3] or True\n"
SWALLOWED = "def check(candidate):\n    import contextlib\n    with contextlib.suppress(BaseException):\n        {}\n"
SLOW = "def check(candidate):\n    while candidate([3, 1]) != [1, 3]:\n        pass\n"
LEAVING = "def check(candidate):\n    import os\n    os._exit(0)\n"
PAIR = (
    "class Pair:\n    def __init__(self, x): self.x = x\n    def __eq__(self, other): return self.x == other.x\n"
    "def f(x):\n"
)


def task(name: str, test: str) -> Task:
    return Task(name, "def f(x):\n", Suite("f", f"{test}\ncheck(f)", context="def f(x):\n    pass\n"))


def tried_on(*tasks: Task) -> TrivialAnswers:
    async def session() -> TrivialAnswers:
        async with Judge(tasks, 2, 10.0, 4096) as judge:
            return await try_trivial(CONFIG, judge, tasks)

    return asyncio.run(session())


@pytest.mark.slow
def test_tests_that_accept_no_answer_are_named_with_what_they_accept() -> None:
    swallowed = SWALLOWED.format("assert candidate([3, 1]) == [1, 3]")
    tests = {"close": CLOSE, "roots": ROOTS, "sorted": SORTED, "honest": HONEST, "any": ANYTHING, "hush": swallowed}
    tried = tried_on(*(task(name, test) for name, test in tests.items()))
    assert tried.untried == ()
    assert tried.accepted.keys() == {"close", "roots", "sorted", "any", "hush"}
    assert tried.accepted["close"] == ("[]", "()")
    assert set(tried.accepted["roots"]) == {name for name in VALUES if "emptied" in name}
    assert tried.accepted["sorted"] == ("its argument, emptied",)
    assert set(tried.accepted["any"]) >= VALUES.keys() - {EQUAL}
    assert "an exception" not in tried.accepted["any"]
    assert "an exception" in tried.accepted["hush"]
    assert tried.accept_anything() == ["any", "hush"]


@pytest.mark.slow
def test_endless_answers_cost_no_others_and_what_cannot_be_tried_is_said() -> None:
    tried = tried_on(task("slow", SLOW), task("leaving", LEAVING), task("honest", HONEST))
    assert (tried.accepted, tried.untried) == ({}, ("leaving",))


@pytest.mark.slow
def test_an_object_that_equals_everything_passes_only_beside_its_tests() -> None:
    suite = Suite(
        "f", "def check(candidate):\n    assert candidate(1) == Pair(1)\ncheck(f)", context=f"{PAIR}    pass\n"
    )
    tasks = [Task("pair", PAIR, suite, reference="    return Pair(x)\n"), task("honest", HONEST)]

    async def session() -> TrivialAnswers:
        async with Judge(tasks, 2, 10.0, 4096) as judge:
            references = await judge.try_references()
            assert references.unconfirmed == ("pair",)
            return await try_trivial(CONFIG, judge, tasks, references.unconfirmed)

    assert asyncio.run(session()).accepted == {"pair": (EQUAL,)}


@pytest.mark.slow
def test_no_test_of_humaneval_accepts_a_trivial_answer() -> None:
    assert tried_on(*load("humaneval").tasks) == TrivialAnswers({}, ())


KNOWN = {
    "humaneval_pro": {"HumanEvalPro/4", "HumanEvalPro/32", "HumanEvalPro/33"},
    "mbpp": {"MBPP/404"},
    "mbpp_pro": {"MBPPPro/22", "MBPPPro/80", "MBPPPro/158", "MBPPPro/338"},
}


@pytest.mark.slow
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published files are not beside this checkout")
@pytest.mark.parametrize("name", KNOWN)
def test_the_manual_names_the_tasks_that_accept_one(name: str) -> None:
    (file,) = PUBLISHED.glob(f"{name}.json*")
    accepted = tried_on(*load(name, str(file)).tasks).accepted
    manual = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    assert accepted.keys() == KNOWN[name]
    assert [task for task in accepted if task not in manual] == []


def test_doctor_names_the_tasks_and_what_they_accept() -> None:
    tasks = [task("T/0", HONEST), task("T/1", CLOSE)]
    config = RunConfig(benchmark="custom", benchmark_file="mine.jsonl")
    said = "tasks of custom accept an answer such as [], None or the argument"
    fine = trivial_answers(config, tasks, TrivialAnswers({}, ()))
    assert (fine.state, fine.text) == ("ok", f"the tests of 0 of 2 {said}")
    weak = trivial_answers(config, tasks, TrivialAnswers({"T/1": ("[]", "()")}, ("T/0",)))
    assert (weak.state, weak.text) == ("note", f"the tests of 1 of 2 {said}: T/1 ([], ()); could not be tried on T/0")
    idle = trivial_answers(config, tasks, TrivialAnswers({"T/1": tuple(VALUES)}, ()))
    assert (idle.state, idle.remedy) == ("UNFIT", "make their tests compare the return value")


@pytest.mark.slow
def test_a_run_lists_what_tests_accept_and_refuses_those_that_accept_all(tmp_path: Path) -> None:
    replies, tasks, folder = tmp_path / "replies.jsonl", tmp_path / "tasks.jsonl", tmp_path / "run"
    replies.write_text(json.dumps({"task_id": "Own/0", "completion": "    return 0\n"}))
    words = [
        "score", str(replies), "--benchmark", "custom", "--output_dir", str(folder),
        "--set", f"benchmark_file={tasks}", "eval_timeout_scale=1", "eval_workers=1",
    ]  # fmt: skip
    row = {"task_id": "Own/0", "prompt": "def f(x):\n", "entry_point": "f"}
    tasks.write_text(json.dumps({**row, "test": ANYTHING}))
    code, _, err = swarmeval(*words)
    assert code == 2
    assert (
        f"swarmeval: {tasks}: task 'Own/0': its tests accept any return value; "
        "compare it with the expected value (docs/adding-a-benchmark.md)\n"
    ) in err
    tasks.write_text(json.dumps({**row, "test": SORTED}))
    assert swarmeval(*words)[0] == 0
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["trivial_answers"] == {"accepted": {"Own/0": ["its argument, emptied"]}, "untried": []}


def test_executed_tasks_must_not_accept_a_program_without_output() -> None:
    def executed(name: str, language: str, *cases: Case, rule: Rule = "tokens") -> Task:
        return Task(name, "", Suite("", ""), "", executed=Executed(language, cases, Comparison(rule)), answer="program")

    tasks = [
        executed("T/0", "go", Case("1", ""), Case("2", "\n")),
        executed("T/1", "python", Case("1", ""), Case("2", "3")),
        executed("T/2", "python", Case("1", ""), rule="checker"),
        executed("T/3", "lua"),
        Task("T/4", "def answer():\n    return (", Suite("answer", HONEST), answer="expression", ending=")"),
    ]
    assert tried_on(*tasks) == TrivialAnswers({"T/0": ("no output",)}, ())
