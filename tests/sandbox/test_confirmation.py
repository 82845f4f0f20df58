"""Verdicts that cannot be forged: a program passes only if tests out of its reach see correct values."""

import asyncio
import time

import psutil
import pytest

from swarmeval.doctor.hostile import CHEATS, HONEST, TESTS
from swarmeval.records import Execution, Outcome, Program
from swarmeval.sandbox.runner import Sandbox
from tests.support.sandbox_runs import MEMORY_MB, descendants, run_all


@pytest.mark.slow
def test_no_cheat_passes() -> None:
    found = run_all(*(Program(cheat, TESTS, "f") for cheat in CHEATS.values()), Program(HONEST, TESTS, "f"))
    outcomes = dict(zip([*CHEATS, "honest"], (execution.outcome for execution in found), strict=True))
    assert outcomes.pop("honest") is Outcome.PASSED
    assert {name: str(outcome) for name, outcome in outcomes.items() if outcome is Outcome.PASSED} == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "outcome", "detail"),
    [
        ("an object equal to everything", Outcome.WRONG_ANSWER, "candidate([3, 1]) gives <A>"),
        ("a report of its own", Outcome.TAMPERED, "the program broke the protocol with its tests: its process ended"),
        ("frames walked in search of tests", Outcome.WRONG_ANSWER, "candidate([3, 1]) gives None"),
    ],
)
def test_a_cheat_never_meets_its_tests(name: str, outcome: Outcome, detail: str) -> None:
    (execution,) = run_all(Program(CHEATS[name], TESTS, "f"))
    assert execution.outcome is outcome
    assert execution.detail.endswith(detail)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solution", "tests"),
    [
        ("def f(x): return (1, (2, 'a'))", "assert f(0) == (1, (2, 'a'))"),
        ("def f(x): return {1, 2}", "assert f(0) == {2, 1}"),
        ("def f(x): return {(1, 2): [None, True]}", "assert f(0) == {(1, 2): [None, True]}"),
        ("from collections import Counter\ndef f(x): return Counter(x)", "assert f('aab') == {'a': 2, 'b': 1}"),
        ("def f(x): return 0.1 + 0.2", "assert f(0) == 0.1 + 0.2 and f(0) != 0.3"),
        ("def f(x): return float('inf')", "assert f(0) == float('inf')"),
        ("def f(x): return None", "assert f(0) is None"),
        ("def f(x): return 2 ** 100", "assert f(0) == 2 ** 100"),
        ("def f(x): return (i for i in x)", "assert f([1]) != [1] and list(f([1])) == [1]"),
        ("def f(x): return map(str, x)", "assert tuple(f([1, 2])) == ('1', '2')"),
        ("def f(x):\n    x.append(4)", "l = [3]\nf(l)\nassert l == [3, 4]"),
        ("def f(x):\n    x['a'].pop()", "d = {'a': [1]}\nf(x=d)\nassert d == {'a': []}"),
        ("def f(x): return 1 / x", "try: f(0)\nexcept ZeroDivisionError: pass\nelse: assert False"),
        ("def f(x): return '\\ud800é'", "assert f(0) == '\\ud800é'"),
        ("n = 0\ndef f(x):\n    global n\n    n += 1\n    return n", "assert [f(0), f(0)] == [1, 2]"),
        ("def f(x): return b'\\x00\\xff'", "assert f(0) == b'\\x00\\xff'"),
        ("def f(x): return helper(x) + 1", "assert f(1) == helper(1) + 1"),
    ],
)
def test_honest_values_of_every_kind_pass(solution: str, tests: str) -> None:
    helper = "def helper(x): return 2 * x\n"
    (found,) = run_all(Program(helper + solution, tests, "f", context=helper))
    assert (found.outcome, found.detail) == (Outcome.PASSED, "")


@pytest.mark.slow
def test_a_program_that_hangs_in_the_tests_call_is_not_tampering() -> None:
    """A program that passes once and never ends in the tests' call is reported as TIMED_OUT."""
    once = "import sys\ndef f(x):\n    while sys._getframe(1).f_code.co_name != 'check': pass\n    return sorted(x)"
    (found,) = run_all(Program(once, TESTS, "f"), timeout_s=0.5)
    assert found.outcome is Outcome.TIMED_OUT


@pytest.mark.slow
def test_a_wrong_answer_comes_with_the_value_that_was_wrong() -> None:
    hangs_then = "import itertools\nn = itertools.count()\ndef f(x):\n    while next(n) > 0: pass\n    return 0"
    found = run_all(
        Program("def f(x): return x", TESTS, "f"),
        Program("def f(x): return 'x' * 10**6", TESTS, "f"),
        Program("class A:\n    def __repr__(self): raise SystemExit\ndef f(x): return A()", TESTS, "f"),
        Program(hangs_then, TESTS, "f"),
        timeout_s=1.0,
    )
    failed = "AssertionError (line 3: assert candidate([3, 1]) == [1, 3])"
    assert {execution.outcome for execution in found} == {Outcome.WRONG_ANSWER}
    assert found[0].detail == failed + "; candidate([3, 1]) gives [3, 1]"
    assert found[1].detail.startswith(failed + "; candidate([3, 1]) gives 'xxx")
    assert len(found[1].detail) < 400
    assert found[2].detail == failed + "; candidate([3, 1]) gives <A>"
    assert found[3].detail == failed + "; candidate([3, 1]) gives 0"  # remembered, not called again


@pytest.mark.slow
def test_tests_share_a_process_and_no_program_leaves_anything_in_it() -> None:
    """The tests' process is reused as long as they do not change it; otherwise the next program gets a new one."""
    seen = "import random\nrandom.seen = getattr(random, 'seen', 0) + 1\n"
    tests = "def check(candidate):\n    import random\n    assert random.seen <= candidate(0)\ncheck(f)"
    passes = [Program(f"def f(x): return {wanted}", seen + tests, "f") for wanted in (1, 2, 3)]
    ends = "import os, sys\ndef f(x):\n    if sys._getframe(1).f_code.co_name != 'check': os._exit(0)\n    return 9"
    found = run_all(*passes, Program(ends, seen + tests, "f"), *passes[:1])
    assert [execution.outcome for execution in found[:3]] == [Outcome.PASSED] * 3
    assert [execution.outcome for execution in found[3:]] == [Outcome.CRASHED, Outcome.PASSED]


@pytest.mark.slow
def test_a_process_of_tests_that_was_idle_or_killed_is_replaced() -> None:
    depth = len(psutil.Process().parents()) + 3  # below a warden and a jail

    async def session() -> list[Execution]:
        async with Sandbox(1, 0.3, MEMORY_MB) as sandbox:
            found = [await sandbox.run(Program(HONEST, TESTS, "f"))]
            await asyncio.sleep(0.7)
            found.append(await sandbox.run(Program(HONEST, TESTS, "f")))
            (tester,) = (process for process in descendants() if len(process.parents()) == depth)
            tester.kill()
            found.append(await sandbox.run(Program(HONEST, TESTS, "f")))
            return found

    assert [execution.outcome for execution in asyncio.run(session())] == [Outcome.PASSED] * 3


@pytest.mark.slow
def test_tests_that_are_done_before_the_program_has_begun_decide() -> None:
    tests = "class A: pass\nassert f(A()) == 1"
    found = run_all(
        *[Program("def f(x): return 1", "pass", "f")] * 20, *[Program("def f(x): return 1", tests, "f")] * 10
    )
    assert [execution.outcome for execution in found[:20]] == [Outcome.PASSED] * 20


@pytest.mark.slow
def test_leftovers_in_the_tests_process_do_not_affect_the_next_program() -> None:
    """Unrequested values are not accepted, and a failure in a reused process is retried in a new one."""
    said = b'{"value": 1, "junk": [[]]}\n'
    junk = f"import os\ndef f(x):\n    try: os.write(4, {said!r})\n    except OSError: pass\n    return 1"
    hungry = "x = bytearray(650 << 20)\nassert f(1) == 1"
    found = run_all(
        Program(junk, "f(0)", "f"), *[Program("def f(x): return x", "assert f(1) == 1", "f")] * 3,
        Program("def f(x): return x", hungry, "f"), memory_mb=1024,
    )  # fmt: skip
    assert [execution.outcome for execution in found] == [Outcome.TAMPERED, *[Outcome.PASSED] * 4]


@pytest.mark.slow
def test_what_a_program_says_is_bounded_and_nothing_that_a_terminal_obeys() -> None:
    beside = "import sys\ndef f(x):\n    if sys._getframe(1).f_code.co_name == 'check': return sorted(x)\n"
    long = f"{beside}    raise OSError('y' * 10**7)"
    raw = "import os\nos.write(3, b'RAISED\\n' + b'\\x1b[2J\\rA' * 9000)\nos._exit(0)"
    for found in run_all(Program(long, TESTS, "f"), Program(raw, TESTS, "f")):
        assert len(found.detail) <= 600
        assert found.detail.isprintable()


@pytest.mark.slow
def test_a_program_at_its_limit_says_where_it_was() -> None:
    loops, sleeps = "def f(x):\n    while True: pass", "import time\ndef f(x):\n    time.sleep(60)"
    began = time.monotonic()
    for execution in run_all(Program(loops, TESTS, "f"), Program(sleeps, TESTS, "f"), timeout_s=0.5):
        assert execution.outcome is Outcome.TIMED_OUT
        assert execution.detail.startswith("Time limit exceeded: 0.5 s, in line ")
    assert time.monotonic() - began < 30


@pytest.mark.slow
def test_an_exception_comes_with_its_message_and_the_programs_own_line() -> None:
    solutions = [
        "def f(x):\n    return int('a')",
        "class Own(Exception): pass\ndef f(x):\n    raise Own('mine')",
        "def f(x):\n    raise SystemExit(0)",
        "def f(x):\n    assert x == 1, 'no'",
        "import no_such_module\ndef f(x): return x",
        "def g(x): return x",
    ]
    assert [(found.outcome, found.detail) for found in run_all(*(Program(text, TESTS, "f") for text in solutions))] == [
        (Outcome.RAISED, "ValueError: invalid literal for int() with base 10: 'a' (line 2: return int('a'))"),
        (Outcome.RAISED, "Own: mine (line 3: raise Own('mine'))"),
        (Outcome.RAISED, "SystemExit: 0 (line 2: raise SystemExit(0))"),
        (Outcome.WRONG_ANSWER, "AssertionError: no (line 2: assert x == 1, 'no')"),
        (Outcome.RAISED, "ModuleNotFoundError: No module named 'no_such_module' (line 1: import no_such_module)"),
        (Outcome.RAISED, "NameError: name 'f' is not defined"),
    ]


@pytest.mark.slow
def test_tests_see_what_a_call_prints() -> None:
    tests = (
        "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as out: f(2)\n"
        "assert out.getvalue() == 'two\\n'"
    )
    (execution,) = run_all(Program("print('before')\ndef f(x): print('two')", tests, "f"))
    assert (execution.outcome, execution.detail) == (Outcome.PASSED, "")


@pytest.mark.slow
def test_only_tests_that_need_more_than_plain_data_run_beside() -> None:
    """A returned value never moves tests beside the program, where the program could deceive them."""
    needs, returns = "class A: pass\nassert f(A()) == 1", "assert f(f(1)) == 1"
    deceives = "class A:\n    def __eq__(self, other): return True\ndef f(x): return A()"
    beside, apart = run_all(Program("def f(x): return 1", needs, "f"), Program(deceives, returns, "f"))
    assert (beside.outcome, beside.unconfirmed) == (Outcome.PASSED, True)
    assert (apart.outcome, apart.unconfirmed) == (Outcome.WRONG_ANSWER, False)


@pytest.mark.slow
def test_a_jail_that_is_made_anew_leaves_no_process_behind() -> None:
    beside = Program("def f(x): return x", "assert f(1) == 1", "f", beside=True)

    async def session() -> tuple[list[Execution], int]:
        async with Sandbox(1, 10.0, MEMORY_MB) as sandbox:
            before = len(descendants())
            executions = [await sandbox.run(beside) for _ in range(8)]
            return executions, len(descendants()) - before

    executions, more = asyncio.run(session())
    assert [(execution.outcome, execution.unconfirmed) for execution in executions] == [(Outcome.PASSED, True)] * 8
    assert more <= 1  # the last process may not be reaped yet


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        "import math; math.pi = 3", "import builtins; builtins.kept = 1", "import sys; sys.setrecursionlimit(900)",
        "import decimal; decimal.getcontext().prec = 3", "import os; os.chdir('/')",
        "import os; os.environ['KEPT'] = '1'", "import sys; sys.path.append('x')", "import colorsys",
        "import warnings; warnings.simplefilter('error')",
    ],
)  # fmt: skip
def test_tests_that_change_their_interpreter_change_it_for_themselves(change: str) -> None:
    state = (
        "import builtins, decimal, math, os, sys, warnings\n"
        "now = (math.pi, hasattr(builtins, 'kept'), sys.getrecursionlimit(), os.getcwd() == '/',\n"
        "       decimal.getcontext().prec, 'KEPT' in os.environ, 'x' in sys.path, len(warnings.filters))\n"
        "assert f(hash((repr(now), 'colorsys' in sys.modules))) == 'x'"
    )
    shows, changes = Program("def f(x): return x", state, "f"), f"{change}\nassert f(1) == 2"
    before, _, after = run_all(shows, Program("def f(x): return x", changes, "f"), shows)
    assert before.outcome is Outcome.WRONG_ANSWER
    assert "gives" in before.detail
    assert after.detail == before.detail
