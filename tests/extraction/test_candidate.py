"""Extraction: the code kept from a reply, the text that is dropped, and the note about it."""

import pytest

from swarmeval.extraction.candidate import candidate
from swarmeval.records import Candidate, Outcome
from tests.support.wrappings import BODY, TASK, WHOLE, fence, program_passes

RIGHT = "def total(numbers):\n    return sum(numbers)"


HELPED = "import math\n\n\n{above}def total(numbers):\n    return add_all(numbers)\n{below}"
HELPER = "\n\ndef add_all(numbers):\n    global seen\n    seen = sum(numbers)\n    return math.floor(seen)\n\n\n"
DECORATED = """from functools import lru_cache

LIMIT = 10


@lru_cache(None)
def add(a, b):
    return a + b if a < LIMIT else 0


def total(numbers):
    result = 0
    for number in numbers:
        result = add(result, number)
    return result
"""


@pytest.mark.parametrize(
    "reply",
    [
        HELPED.format(above=HELPER, below=""),
        HELPED.format(above="", below=HELPER),
        fence("import math" + HELPER) + "\nand then\n" + fence("def total(numbers):\n    return add_all(numbers)"),
        "    return add_all(numbers)\n\n\n" + HELPER.replace("math.floor", "int"),
        fence(DECORATED),
        fence("total = lambda numbers: sum(numbers)"),
        fence("def wrong(numbers):\n    return sum(numbers)\n\n\ntotal = wrong"),
        fence("def total(numbers):\n    # a comment\n# at the margin\n    return sum(numbers)"),
        fence('def total(numbers):\n    """\n    ```\n    total([1])\n    ```\n    """\n    return sum(numbers)'),
    ],
)  # fmt: skip
def test_helpers_imports_and_decorators_stay(reply: str) -> None:
    assert program_passes(candidate(reply, "reply", TASK), TASK)


def test_the_last_complete_definition_wins() -> None:
    right, wrong = (f"def total(numbers):\n    return {value}" for value in ("sum(numbers)", "0"))
    assert program_passes(candidate(fence(wrong) + "\nBetter:\n" + fence(right), "reply", TASK), TASK)
    assert not program_passes(candidate(fence(right) + "\nBetter:\n" + fence(wrong), "reply", TASK), TASK)
    assert program_passes(candidate(f"{wrong}\n\n\n{right}", "reply", TASK), TASK)


@pytest.mark.parametrize("broken", ["    return sum(numbers)\n    this is no Python\n", "    return sum(numbers))\n"])
def test_a_definition_broken_inside_a_closed_fence_is_not_fixed_by_cutting(broken: str) -> None:
    for text in (
        f"```python\ndef total(numbers):\n{broken}```\n",
        f"```python\ndef total(numbers):\n{broken}\ndef other():\n    return 1\n```",
    ):
        found = candidate(text, "reply", TASK)
        assert found.outcome is Outcome.BAD_SYNTAX
        assert found.error is not None
        assert broken.rstrip() in found.code


def test_a_truncated_reply_keeps_the_longest_prefix_that_parses() -> None:
    found = candidate("```python\ndef total(numbers):\n    x = 1\n    if x:\n        y = (numbers", "reply", TASK)
    assert found.code == "\ndef total(numbers):\n    x = 1"
    assert found.note == "fence, truncated"


@pytest.mark.parametrize(
    "tail",
    ["\n\ndef main():\n    ", "\n\ndef main(operations", '\n\ndef main():\n    """ Runs the', "\n\nclass Te", "\n\n@"],
)
@pytest.mark.parametrize("opening", ["```python\n", "", "Sure:\n\n```\n"])
def test_a_reply_cut_in_the_head_of_a_later_definition_keeps_the_answer(tail: str, opening: str) -> None:
    assert program_passes(candidate(f"{opening}{WHOLE}{tail}", "reply", TASK), TASK)


def test_a_multi_line_string_keeps_its_margin() -> None:
    found = candidate('x = """\n  two\nnone"""\nreturn x', "reply", TASK)
    assert found.code == '    x = """\n  two\nnone"""\n    return x\n'


@pytest.mark.parametrize(
    "reply",
    [
        "\n    return len((num - 1) * (threshold + 1)) == len(list(map(lambda x, y)))",
        "    for x in numbers\n        print(x)",
        "\n    result = [x for x in",
        "    numbers[0] = (",
    ],
)
def test_a_continuation_that_does_not_parse_is_bad_syntax_and_not_empty(reply: str) -> None:
    assert candidate(reply, "reply", TASK).outcome is Outcome.BAD_SYNTAX


@pytest.mark.parametrize(
    "reply",
    ["I cannot help", "Sorry, I can't.", "Sorry", "    I cannot help", "return the sum: 3", "1. Add\n2. Return"],
)
def test_a_refusal_holds_no_code(reply: str) -> None:
    assert candidate(reply, "reply", TASK) == Candidate("", "no code in the reply", Outcome.EMPTY)


def test_an_empty_reply_is_empty_in_every_form() -> None:
    for form in ("reply", "completion", "solution"):
        assert candidate(" \n", form, TASK) == Candidate("", "the reply is empty", Outcome.EMPTY)


def test_broken_code_keeps_its_error_and_line() -> None:
    found = candidate(fence("def total(numbers:\n    return 1"), "reply", TASK)
    assert found.outcome is Outcome.BAD_SYNTAX
    assert found.error == "line 10: '(' was never closed: 'def total(numbers:'"


def test_a_completion_is_taken_as_it_is() -> None:
    assert candidate(BODY, "completion", TASK) == Candidate(BODY, note="as given")
    found = candidate("I cannot help", "completion", TASK)
    assert (found.code, found.outcome) == ("I cannot help", Outcome.BAD_SYNTAX)


def test_a_solution_is_a_whole_program_behind_the_prompt() -> None:
    assert candidate(WHOLE, "solution", TASK) == Candidate("\n" + WHOLE, note="whole program")
    assert candidate("def total(", "solution", TASK).outcome is Outcome.BAD_SYNTAX


@pytest.mark.parametrize("code", ["x = 1\0", "x = '\ud800'", "x = " + "(" * 500, "x = " + "-" * 50_000 + "1"])
def test_what_the_parser_chokes_on_is_bad_syntax(code: str) -> None:
    assert candidate(code, "solution", TASK).outcome is Outcome.BAD_SYNTAX


def test_warnings_of_the_judged_code_stay_silent() -> None:
    assert candidate("def total(numbers):\n    '\\d'\n    return sum(numbers)", "solution", TASK).error is None
