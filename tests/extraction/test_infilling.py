"""The middle of a function: what a model for infilling gives is unchanged, and chat replies lose repeated lines."""

import pytest

from swarmeval.extraction.candidate import candidate
from swarmeval.records import Candidate, Outcome, Suite, Task
from tests.support.wrappings import fence

ABOVE = "def total(numbers):\n    result = 0\n    for number in numbers:\n"
MIDDLE = "        result += number\n"
BELOW = "    return result\n"
TASK = Task("Toy/infilling", ABOVE, Suite("total", "assert total([1, 2]) == 3"), ending=BELOW)


def test_the_middle_is_used_as_it_is_given() -> None:
    for form in ("reply", "completion"):
        assert candidate(MIDDLE, form, TASK) == Candidate(MIDDLE, note="as given")
    broken = candidate("        result += (\n", "reply", TASK)
    assert broken.outcome is Outcome.BAD_SYNTAX


@pytest.mark.parametrize(
    "code",
    [
        MIDDLE, MIDDLE.strip(), ABOVE + MIDDLE + BELOW, MIDDLE + BELOW, ABOVE.split("\n")[2] + "\n" + MIDDLE,
        "\n".join(line + "  \n" for line in (ABOVE + MIDDLE).split("\n")),
        "    for number in numbers:\n" + MIDDLE + BELOW,
    ],
)  # fmt: skip
def test_a_fence_gives_the_middle_without_repeated_lines(code: str) -> None:
    for reply in (fence(code), f"Here:\n{fence(code)}\nThe loop adds up."):
        found = candidate(reply, "reply", TASK)
        assert found.outcome is None
        assert found.code.split() == MIDDLE.split()
        exec(TASK.prompt + found.code + TASK.ending + TASK.suite.text, {})


def test_a_middle_inside_a_line_gets_no_newline() -> None:
    task = Task("Toy/span", "def total(numbers):\n    return su", TASK.suite, ending="mbers)\n")
    assert candidate("m(nu", "reply", task).code == "m(nu"
    assert candidate(fence("m(nu"), "reply", task).code == "m(nu"


def test_a_fence_that_fits_nowhere_is_bad_syntax() -> None:
    found = candidate(fence("result += ("), "reply", TASK)
    assert (found.outcome, found.note) == (Outcome.BAD_SYNTAX, "fence")
