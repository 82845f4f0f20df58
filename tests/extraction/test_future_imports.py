"""`from __future__ import annotations` keeps its effect in a program that is appended to a prompt."""

import textwrap
from dataclasses import replace

import pytest

from swarmeval.extraction.candidate import candidate
from tests.support.wrappings import TASK, fence, program_passes

FUTURE = "from __future__ import annotations\n"
OWN_CLASS = """
class Sum:
    parts: list[Sum] | None = None

    def __init__(self, value: int, *rest: Sum, **more: "Sum") -> None:
        self.value: Unknown = value

    def plus(
        self,
        other: Sum,  # another
    ) -> Sum:
        return Sum(self.value + other.value)


def total(numbers: list[int], start: Optional[int] = None) -> Optional[
    int
]:
    result: Nowhere = Sum(0)
    for number in numbers:
        result = result.plus(Sum(number))
    return result.value
"""
RIGHT = {
    "own class": OWN_CLASS,
    "union of a function": "def total(numbers: any | None) -> callable | None:\n    return sum(numbers)",
    "missing module": "def total(numbers: np.ndarray) -> 'é' and np.é:\n    return sum(numbers)",
    "other letters": "def total(numbers: Größe, s='ß', t: Maß = 'ü') -> Zahl: return sum(numbers)",
    "dataclass": "from dataclasses import dataclass\n\n@dataclass\nclass Node:\n    next: Node | None\n"
    "    value: int = 0\n\ndef total(numbers):\n    return sum(Node(None, n).value for n in numbers)",
}  # fmt: skip


@pytest.mark.parametrize("code", RIGHT.values(), ids=RIGHT)
@pytest.mark.parametrize(
    "head",
    [
        FUTURE,
        '"""A module.\n\nfrom __future__ import nothing\n"""\n' + FUTURE,
        "# comment\nfrom __future__ import (\n    annotations,  # so\n    division\n)\n",
        "from __future__ import annotations; import math\n",
        "from __future__ import division, \\\n    annotations\n",
        "from __future__ import annotations as notes\nfrom __future__ import print_function\n",
    ],
)
def test_annotations_are_strings_as_the_import_asks(head: str, code: str) -> None:
    program = head + code
    for prompt in (TASK.prompt, "", '"""Add up."""\n', "from __future__ import annotations\n" + TASK.prompt):
        task = replace(TASK, prompt=prompt)
        for reply in (program, fence(program), f"Sure!\n{program}"):
            assert program_passes(candidate(reply, "reply", task), task), reply
        found = candidate(program, "solution", task)
        assert program_passes(found, task), found


def test_an_import_on_the_same_line_stays() -> None:
    program = (
        "from __future__ import annotations; import math\ndef total(numbers):\n    return math.floor(sum(numbers))"
    )
    for form in ("reply", "solution"):
        assert program_passes(candidate(program, form, TASK), TASK)


def test_annotations_that_cannot_fail_are_left_as_they_are() -> None:
    code = "def total(numbers: list[int], other: List[str] = ()) -> int:\n    return sum(numbers)"
    for form in ("reply", "solution"):
        assert candidate(FUTURE + code, form, TASK).code.strip() == code


def test_a_text_that_only_mentions_the_import_is_kept() -> None:
    text = '    text = """\nfrom __future__ import annotations\n"""\n'
    code = f"def total(numbers):\n{text}    return sum(numbers) + len(text) - 36"
    for form in ("reply", "solution"):
        assert program_passes(candidate(code, form, TASK), TASK)


def test_a_continuation_and_the_class_below_it_keep_the_effect() -> None:
    reply = (
        "    return Sum().of(numbers)\n\n\n"
        + FUTURE
        + textwrap.dedent(
            """
        class Sum:
            def of(self: Sum, numbers: Numbers):
                return sum(numbers)
        """
        )
    )
    assert program_passes(candidate(reply, "reply", TASK), TASK)
