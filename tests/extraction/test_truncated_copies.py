"""If a model repeats itself and the last copy is truncated, the earlier complete copy counts."""

import pytest

from swarmeval.extraction.candidate import candidate
from swarmeval.records import Candidate, Outcome
from tests.support.wrappings import TASK, fence, program_passes

RIGHT = (
    "def total(numbers):\n    result = 0\n    for number in numbers:\n        if number == 0:\n            return 0\n"
    "        result += number\n    return result\n"
)
HELPED = "def plus(a, b):\n    c = a\n    if b:\n        c = a + b\n    return c\n"
USER = (
    "def total(numbers):\n    result = 0\n    for n in numbers:\n        result = plus(result, n)\n    return result\n"
)
METHOD = (
    "class Solution:\n    def total(self, numbers):\n        return self.add(numbers)\n\n"
    "    def add(self, xs):\n        return sum(xs)\n"
)
CODES = {
    "function": RIGHT,
    "helper last": f"{USER}\n\n{HELPED}",
    "helper first": f"{HELPED}\n\n{USER}",
    "class": METHOD,
}


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_a_copy_that_was_cut_replaces_nothing(code: str) -> None:
    for end in range(len(code)):
        cut = code[:end]
        for reply in (
            f"{fence(code)}\nOnce more:\n```python\n{cut}",
            f"```python\n{code}\n\n{cut}",
            f"{code}\n\n{cut}",
            f"Sure!\n{code}\nOnce more:\n{cut}",
            f"{fence(code)}\nOnce more:\n\n{cut}",
        ):
            found = candidate(reply, "reply", TASK)
            assert program_passes(found, TASK), (reply, found)


def test_a_new_version_without_its_end_replaces_no_complete_one() -> None:
    better = "def total(numbers):\n    if not numbers:\n        return 0\n    first, *rest = numbers\n"
    for reply in (
        f"{fence(RIGHT)}\nBetter:\n```python\n{better}",
        f"```python\n{RIGHT}\n\n{better}",
        f"{RIGHT}\n\n{better}",
    ):
        assert program_passes(candidate(reply, "reply", TASK), TASK), reply


def test_a_complete_new_version_replaces_an_earlier_one() -> None:
    wrong = "def total(numbers):\n    return 1 + sum(numbers)\n"
    for right in (RIGHT, "def total(numbers):\n    return sum(numbers)", "total = lambda numbers: sum(numbers)"):
        for reply in (
            f"{fence(wrong)}\nBetter:\n```python\n{right}",
            f"```python\n{wrong}\n\n{right}",
            f"{wrong}\n\n{right}",
        ):
            assert program_passes(candidate(reply, "reply", TASK), TASK), reply


def test_a_shorter_last_line_with_a_line_end_is_not_a_truncated_copy() -> None:
    long, short = (f"def total(numbers):\n    return sum(numbers){end}\n" for end in (" + 1", ""))
    for reply in (f"{fence(long)}\nBetter:\n```python\n{short}\n", f"```python\n{long}\n\n{short}\n"):
        assert program_passes(candidate(reply, "reply", TASK), TASK), reply


def test_a_new_version_may_use_what_stands_beside_an_earlier_one() -> None:
    first = fence(f"{HELPED}\n\ndef total(numbers):\n    return plus(0, 0)")
    assert program_passes(candidate(f"{first}\nBetter:\n{fence(USER)}", "reply", TASK), TASK)


ONLY = "only a signature and a docstring in the reply"


@pytest.mark.parametrize(
    "code", ['def total(numbers):\n    """Add up."""', TASK.prompt, f"import math\n\n{TASK.prompt}"]
)
def test_a_signature_with_only_a_docstring_is_not_an_answer(code: str) -> None:
    for reply in (code, fence(code), f"```python\n{code}", f"Sure:\n{code}", f"{fence(code)}\n{fence(code)}"):
        assert candidate(reply, "reply", TASK) == Candidate("", ONLY, Outcome.EMPTY), reply
        assert candidate(reply, "reply", TASK, any_name=True) == Candidate("", ONLY, Outcome.EMPTY), reply
    thought = candidate(f"<think>{fence(RIGHT)}</think>\n{fence(code)}", "reply", TASK)
    assert program_passes(thought, TASK)
