"""The texts that show a task: whole tests, shortened cases, and the start of a program."""

from swarmeval.executed import Case, Comparison, Executed
from swarmeval.records import Suite, Task
from swarmeval.tasks.shown import SHOWN_CASES, SHOWN_CHARS, program_start, shown_tests

TOKENS = Comparison()
CALLED = Task("A", "def f():\n", Suite("f", "assert f()"))


def executed(*cases: Case, comparison: Comparison = TOKENS, tests: str = "") -> Task:
    return Task("B", "// start\n", Suite("", tests), executed=Executed("cpp", cases, comparison))


def test_tests_in_source_are_shown_unchanged() -> None:
    assert shown_tests(CALLED) == "assert f()"
    assert shown_tests(executed(tests="int main() {}")) == "int main() {}"


def test_cases_are_shown_with_their_comparison() -> None:
    task = executed(Case("1 2\n", "3\n"), Case(expected="0", arguments=("--zero", "a b")))
    assert shown_tests(task) == (
        "Outputs are compared by words.\n\n"
        "Case 1\nstandard input:\n1 2\n\nexpected output:\n3\n\n\n"
        "Case 2\narguments: '--zero' 'a b'\nexpected output:\n0"
    )


def test_a_tolerance_and_a_checker_are_shown() -> None:
    assert shown_tests(executed(Case(), comparison=Comparison("numbers", 1e-6))).startswith(
        "Outputs are compared by words and numbers within 1e-06.\n\n"
    )
    checker = Comparison("checker", 0.0, "def check(stdin, expected, output): ...")
    assert shown_tests(executed(Case(), comparison=checker)).startswith(
        "Outputs are compared by this checker:\ndef check(stdin, expected, output): ...\n\n"
    )


def test_many_or_long_cases_are_shortened() -> None:
    text = shown_tests(executed(*[Case("x" * (SHOWN_CHARS + 7), "1")] * (SHOWN_CASES + 1000)))
    assert text.count("[7 more characters]") == SHOWN_CASES
    assert text.endswith("\n\n[1,000 more cases]")


def test_the_code_of_an_executed_task_is_its_whole_program() -> None:
    assert program_start(CALLED) == "def f():\n"
    assert program_start(executed(Case())) == ""
