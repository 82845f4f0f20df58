"""The repair prompt describes how a program failed, but reveals nothing of the hidden tests."""

import builtins

import pytest
from hypothesis import given
from hypothesis import strategies as st

from human_eval_runner import program
from swarmeval.executed import Case, Executed
from swarmeval.records import Attempt, Completion, Outcome, Suite, Task, Verdict
from swarmeval.runs.repair_prompt import EXPLANATIONS, failure_evidence
from tests.support.sandbox_runs import run_all

TASK = Task(
    "T/0",
    "def f(x):\n",
    Suite("f", "def check(candidate):\n    assert candidate(3) == 4\n    assert candidate(5) == 6\ncheck(f)"),
)
OWN = "    class Odd(Exception): pass\n    raise Odd(x)\n"
OWN_LINES = ["def f(x):", "class Odd(Exception): pass", "raise Odd(x)"]
EXCEPTIONS = [
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)
]


def attempt(outcome: Outcome, detail: str, completion: str = "    return m.pi\n") -> Attempt:
    return Attempt(Completion("0/T/0/0/0", f"```\n{completion}```"), Verdict("0/T/0/0/0", outcome, completion, detail))


@pytest.mark.parametrize(
    ("outcome", "detail", "said"),
    [
        (
            Outcome.WRONG_ANSWER,
            "AssertionError (line 4: assert candidate(3) == 4); candidate(3) gives 3",
            "It ran and gave a wrong answer in at least one of the hidden tests.",
        ),
        (
            Outcome.RAISED,
            "NameError: name 'm' is not defined (line 2: return m.pi)",
            "It raised an exception in the hidden tests: NameError (line 2: return m.pi)",
        ),
        (
            Outcome.RAISED,
            "TypeError: f() takes 0 positional arguments (line 5: assert candidate(3) == 4)",
            "It raised an exception in the hidden tests: TypeError",
        ),
        (
            Outcome.RAISED,  # a line of the tests, which may be numbered separately
            "TypeError: f() takes 0 positional arguments (line 2: assert candidate(3) == 4)",
            "It raised an exception in the hidden tests: TypeError",
        ),
        (
            Outcome.RAISED,
            "ValueError: look: assert candidate(5) == 6 (line 2: return m.pi)",
            "It raised an exception in the hidden tests: ValueError (line 2: return m.pi)",
        ),
        (
            Outcome.RAISED,
            "c4_6: x (line 2: return m.pi)",
            "It raised an exception in the hidden tests (line 2: return m.pi)",
        ),
        (Outcome.RAISED, "SystemExit", "It raised an exception in the hidden tests: SystemExit"),
        (Outcome.RAISED, "an exception that cannot be shown: Odd", "It raised an exception in the hidden tests."),
        (Outcome.BAD_SYNTAX, "4 and 6", "It is not valid Python."),
        (Outcome.TIMED_OUT, "no end after 10 s, in line 2", "It did not finish within the time limit."),
    ],
)
def test_evidence_says_how_a_program_failed_and_nothing_of_the_tests(outcome: Outcome, detail: str, said: str) -> None:
    assert failure_evidence(TASK, attempt(outcome, detail), "evidence") == said


@pytest.mark.parametrize(
    ("completion", "said"),
    [
        ("    return (\n", "It is not valid Python: line 2: '(' was never closed: 'return ('"),
        ("    pass\nreturn 1\n", "It is not valid Python: line 3: 'return' outside function"),
    ],
)
def test_what_python_says_of_broken_syntax_is_told(completion: str, said: str) -> None:
    assert failure_evidence(TASK, attempt(Outcome.BAD_SYNTAX, "", completion), "evidence") == said


details = st.lists(
    st.one_of(st.sampled_from([*OWN_LINES, "Odd", "ValueError", ": ", " (line ", "2", "3", ")", "; "]), st.text())
).map("".join)


@given(outcome=st.sampled_from(Outcome).filter(lambda outcome: outcome is not Outcome.PASSED), detail=details)
def test_no_text_that_a_program_makes_reaches_the_next_prompt(outcome: Outcome, detail: str) -> None:
    said = failure_evidence(TASK, attempt(outcome, detail, OWN), "evidence")
    sentence = EXPLANATIONS[outcome].rstrip(".")
    names = ["", *(f": {name}" for name in [*EXCEPTIONS, "Odd"])] if outcome is Outcome.RAISED else [""]
    places = ["", *(f" (line {number}: {line})" for number, line in enumerate(OWN_LINES, start=1))]
    assert said in {f"{sentence}."} | {f"{sentence}{name}{place}" for name in names for place in places}


LEAKS = {
    "a compressed message": "raise ValueError(base64.b85encode(zlib.compress(repr(seen).encode())).decode())",
    "the name of the exception": "raise type('V' + zlib.compress(repr(seen).encode()).hex(), (Exception,), {})()",
    "a report of its own": "os.write(3, b'RAISED\\nValueError: ' + repr(seen).encode()); os._exit(0)",
    "a report of bad syntax": "os.write(3, b'BAD_SYNTAX\\nSyntaxError: ' + repr(seen).encode()); os._exit(0)",
    "a failed assertion": "raise AssertionError(repr(seen))",
}


@pytest.mark.slow
@pytest.mark.parametrize("act", LEAKS.values(), ids=LEAKS)
def test_a_program_that_reads_its_tests_tells_the_next_round_nothing(act: str) -> None:
    body = (
        "    import base64, os, sys, zlib\n    code = sys._getframe(1).f_code\n"
        f"    seen = code.co_consts if code.co_name == 'check' else (4, 6)\n    {act}\n"
    )
    (end,) = run_all(program(TASK, body))
    said = failure_evidence(TASK, attempt(end.outcome, end.detail, body), "evidence")
    assert said in {
        f"{EXPLANATIONS[end.outcome].rstrip('.')}{name}{place}"
        for name in (".", "", ": ValueError")
        for place in ("", f" (line 5: {act})")
    }


def test_the_tests_are_shown_only_where_that_was_asked_for() -> None:
    failed = attempt(Outcome.WRONG_ANSWER, "AssertionError (line 4: assert candidate(3) == 4); candidate(3) gives 3")
    said = failure_evidence(TASK, failed, "tests")
    assert "candidate(3) gives 3" in said
    assert TASK.suite.text in said


def test_evidence_names_the_language_and_quotes_no_output_of_a_compiler() -> None:
    task = Task("T/0", "", Suite("", ""), "Sum.", executed=Executed("rust", (Case("1", "2"),)), answer="program")
    for outcome, said in {
        Outcome.BAD_SYNTAX: "It is not valid Rust.",
        Outcome.RAISED: "It ended with an error in the hidden tests.",
        Outcome.TAMPERED: "It ended before the hidden tests did.",
    }.items():
        assert failure_evidence(task, attempt(outcome, "error: secret (line 1: fn f(x):)"), "evidence") == said


def test_shown_tests_of_an_executed_task_are_its_cases() -> None:
    task = Task("T/0", "", Suite("", ""), "Sum.", executed=Executed("rust", (Case("1", "2"),)), answer="program")
    said = failure_evidence(task, attempt(Outcome.WRONG_ANSWER, "line 1: expected '2', found '3'"), "tests")
    assert said == (
        "It ran and gave a wrong answer in at least one of the hidden tests.\n"
        "WRONG_ANSWER: line 1: expected '2', found '3'\n\nThe tests:\n```\nOutputs are compared by words.\n\n"
        "Case 1\nstandard input:\n1\nexpected output:\n2\n```"
    )
