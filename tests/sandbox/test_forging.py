"""Texts that pass the tests of tasks that they do not solve: each way that was found, and that it is closed.

The cheats that the doctor tries as well are in swarmeval/doctor/hostile.py.
"""

import asyncio
import contextlib
import json
import socket
import threading

import pytest

from human_eval_runner import Judge
from swarmeval.records import Completion, Execution, Job, Outcome, Program, Suite, Task, Verdict
from swarmeval.sandbox import plain_data
from swarmeval.sandbox.line_channel import Lines
from swarmeval.sandbox.runner import Sandbox
from swarmeval.sandbox.tests_side import judge
from tests.support.sandbox_runs import MEMORY_MB, run_all

# Guesses True or False. The next call says that the answer before it was right; names that do not exist, looked up in
# the library's folder, tell the next run.
LEARNS = """
import os, random, statistics, time
LIBRARY = os.path.dirname(os.__file__)
def put(name):
    for k in range(5): os.access(f"{LIBRARY}/SALT-{name}-{k}", 0)
def timed(name):
    times = []
    for k in range(5):
        path = f"{LIBRARY}/SALT-{name}-{k}"
        began = time.perf_counter()
        os.access(path, 0)
        times.append(time.perf_counter() - began)
    return statistics.median(times)
own = os.urandom(8).hex()
cold = statistics.median(timed(f"{own}{n}") for n in range(200))
warm = statistics.median(timed(f"{own}{n}") for n in range(200))
def get(name): return timed(name) < (cold + warm) / 2
run = 0
while get(f"run {run}"): run += 1
right = []
while (is_true := get(f"{run} true {len(right)}")) | get(f"{run} false {len(right)}"): right.append(is_true)
wrong = [value for value in (True, False) if get(f"{run} tried {value}")]
said = []
def f(x):
    if said: put(f"{run + 1} {str(said[-1]).lower()} {len(said) - 1}")
    if len(said) < len(right): said.append(right[len(said)])
    else:
        said.append(random.choice([value for value in (True, False) if value not in wrong] or [True, False]))
        if len(said) == len(right) + 1:
            for value in {*wrong, said[-1]}: put(f"{run + 1} tried {value}")
    return said[-1]
"""
PRIMES = (2, 3, 5, 7, 11, 13)
PRIME_TESTS = "\n".join(f"assert f({n}) is {n in PRIMES}" for n in range(16))
IS_PRIME = "def f(n): return n > 1 and all(n % k for k in range(2, n))"


async def guesses(sandbox: Sandbox, salt: str, runs: int) -> list[Execution]:
    """Runs of one task, one after the other, until one passes."""
    found: list[Execution] = []
    while len(found) < runs and not (found and found[-1].outcome is Outcome.PASSED):
        found.append(await sandbox.run(Program(LEARNS.replace("SALT", salt), PRIME_TESTS, "f")))
    return found


@pytest.mark.slow
def test_no_run_tells_the_next_which_of_its_answers_were_right() -> None:
    async def session() -> list[Execution]:
        async with Sandbox(1, 10.0, MEMORY_MB) as sandbox:
            shown = await sandbox.run(Program(IS_PRIME, PRIME_TESTS, "f", is_reference=True))
            assert shown.outcome is Outcome.PASSED
            return await guesses(sandbox, "known", 40)

    assert {execution.outcome for execution in asyncio.run(session())} == {Outcome.WRONG_ANSWER}


@pytest.mark.slow
def test_runs_whose_calls_are_not_known_do_tell_it() -> None:
    """The method works: this is what a task without a solution of its own does not withstand (SECURITY.md)."""

    async def session() -> list[Execution]:
        async with Sandbox(1, 10.0, MEMORY_MB) as sandbox:
            for salt in ("first", "second", "third"):  # a busy machine garbles what they tell
                found = await guesses(sandbox, salt, 60)
                if found[-1].outcome is Outcome.PASSED:
                    break
            return found

    assert asyncio.run(session())[-1].outcome is Outcome.PASSED


def judged_against(tests: str, calls: list[str] | None, *answers: str) -> tuple[str, list[str], list[str]]:
    """(report on a program that gives these answers, calls that it received, calls that its tests made)."""
    ours, theirs = socket.socketpair()
    heard: list[str] = []

    def program() -> None:
        lines = Lines(theirs.fileno())
        for answer in answers:
            line = lines.receive()
            if line is None:
                return
            heard.append(line.decode())
            lines.send(answer)
        theirs.shutdown(socket.SHUT_RDWR)

    with ours, theirs:
        thread = threading.Thread(target=program)
        thread.start()
        report, function = judge("", tests, "f", calls, ours.fileno())
        with contextlib.suppress(OSError):  # the program is gone
            ours.shutdown(socket.SHUT_RDWR)
        thread.join()
    return report.decode().partition("\n")[0], heard, function.asked


def call(argument: int) -> str:
    return plain_data.dumps([[argument], {}])


CALLS = [call(1), call(2), call(3)]
THREE = "assert f(1) == 1\nassert f(2) == 2\nassert f(3) == 3"


def said(value: object) -> str:
    return json.dumps({"value": value})


@pytest.mark.parametrize("answers", [(1, 2, 3), (0, 2, 3), (1, 0, 3), (0, 0, 0)])
def test_a_program_is_asked_all_known_calls_whatever_it_answers(answers: tuple[int, ...]) -> None:
    word, heard, _ = judged_against(THREE, CALLS, *map(said, answers))
    assert heard == CALLS
    assert word == ("PASSED" if answers == (1, 2, 3) else "WRONG_ANSWER")


def test_a_program_whose_calls_are_not_known_shows_them() -> None:
    assert judged_against(THREE, None, said(1), said(2), said(3)) == ("PASSED", CALLS, CALLS)


def test_other_calls_than_the_known_ones_are_asked_when_they_come() -> None:
    tests = "assert f(1) == 1\nassert f(f(2)) == 5\nassert f(3) == 3"
    known = [call(1), call(2), call(4)]  # of a solution that gives 4 for 2
    word, heard, asked = judged_against(tests, known, said(1), said(6), said(0), said(5), said(3))
    assert (word, heard) == ("PASSED", [*known, call(6), call(3)])
    assert asked == [call(1), call(2), call(6), call(3)]


@pytest.mark.parametrize(("answers", "word"), [((1, 2), "LOST"), ((1, 0), "WRONG_ANSWER"), ((), "LOST")])
def test_a_program_that_ends_early_is_judged_by_what_it_answered(answers: tuple[int, ...], word: str) -> None:
    assert judged_against(THREE, CALLS, *map(said, answers))[0] == word


@pytest.mark.parametrize("name", ["StopIteration", "StopAsyncIteration"])
def test_an_exception_that_ends_a_loop_does_not_end_the_tests(name: str) -> None:
    tests = "CASES = [(1, 1), (2, 2)]\nassert all(map(lambda case: f(case[0]) == case[1], CASES))"
    raised = json.dumps({"raised": [name, "", "line 2: raise"]})
    assert judged_against(tests, [], raised)[0] == "RAISED"
    assert judged_against("for found, n in zip(map(f, (1, 2)), (1, 2)): assert found == n", [], raised)[0] == "RAISED"


@pytest.mark.slow
def test_what_a_program_writes_into_its_argument_is_gone_with_its_tests() -> None:
    tests = "import keyword\nassert f(keyword.kwlist) == len(keyword.kwlist)"
    empties, counts = (
        "def f(x):\n    x.clear()\n    return 0",
        "assert f('def') == 1 and 'def' in __import__('keyword').kwlist",
    )
    first, second = run_all(Program(empties, tests, "f"), Program("def f(x): return 1", counts, "f"))
    assert (first.outcome, second.outcome) == (Outcome.PASSED, Outcome.PASSED)


@pytest.mark.slow
def test_the_judge_has_the_reference_show_the_calls_first() -> None:
    """A first answer that is wrong spares no program the calls that follow, and changes no verdict."""
    task = Task("Toy/0", "", Suite("f", THREE), reference="def f(x): return x\n")
    late = "import time\ndef f(x):\n    time.sleep(0 if x == 1 else 60)\n    return 0\n"

    async def session() -> Verdict:
        async with Judge([task], 1, 1.0, MEMORY_MB) as judge:
            return await judge.judge(Completion(Job(0, "Toy/0").job_id, late, "solution"))

    verdict = asyncio.run(session())
    assert verdict.outcome is Outcome.WRONG_ANSWER
    assert verdict.judge_s >= 1.0
