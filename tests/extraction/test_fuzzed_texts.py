"""Extraction: any text ends in a candidate whose program parses, or in an outcome that says why not, soon."""

import ast
import warnings

import pytest

from swarmeval.extraction.candidate import candidate
from swarmeval.records import Form
from tests.support.fuzzing import BUDGET_S, fuzz
from tests.support.wrappings import BODY, REBUILT, TASK, WHOLE, WRAPPINGS

CORPUS = [wrap(TASK, BODY).encode() for wrap in (WRAPPINGS | REBUILT).values()] + [BODY.encode(), WHOLE.encode()]
WORDS = [
    text.encode()
    for text in (
        "```", "```python\n", "~~~\n", "<think>", "</think>", "<answer>", "</answer>", "<|im_end|>", "<|endoftext|>",
        "<|channel|>final<|message|>", "[DONE]", "def total(numbers):\n", "def ", "class A:\n", "async ",
        "return ", "import os\n",
        "from __future__ import annotations\n", "if __name__ == '__main__':\n", "assert total([1]) == 1\n", '"""',
        "'''", "'", '"', "#",
        "\\", "\\\n", "\n", "\n\n", "\r", "\t", "    ", "\x00", "\x0c", "\u202e", "\u00a0", "\ufeff", "é", "“",
        "”", "(", ")", "[",
        "]", "{", "}", ":", ";", ",", "=", "->", "@a\n", ">>> ", "... ", "> ", "+", "-", "1. ", "&lt;", "\x1b[1m",
        "lambda: ", "f'{",
        "9**", "not ", "match x:\n    case _: pass\n", "x" * 300, "(" * 300, " " * 900, "\\N{", "\\x",
    )
]  # fmt: skip
FORMS: tuple[Form, ...] = ("reply", "completion", "solution")


def check(data: bytes) -> None:
    text = data.decode(errors="replace")
    for form in FORMS:
        found = candidate(text, form, TASK)
        if found.outcome is None:
            with warnings.catch_warnings(action="ignore"):
                ast.parse(TASK.prompt + found.code)
        else:
            assert found.error


@pytest.mark.slow
@pytest.mark.timeout(2 * BUDGET_S + 300)
def test_any_text_gives_a_candidate_or_an_outcome() -> None:
    fuzz(check, CORPUS, WORDS, BUDGET_S)
