"""Extraction at its edges: black, and text that is made to cost."""

import time

import pytest

from bench.extraction import candidate
from tests.wrappings import TASK, canonical, fence, program_passes


@pytest.mark.slow
def test_black_changes_the_layout_and_not_the_program() -> None:
    ugly = "def total( numbers ):\n    return sum( numbers )"
    found = candidate(ugly, "reply", TASK, use_black=True)
    assert found.completion == "\ndef total(numbers):\n    return sum(numbers)\n"
    assert found.note == "whole reply, black"


@pytest.mark.slow
def test_black_formats_real_answers_and_leaves_strange_ones_alone() -> None:
    for task, body in canonical()[::8]:
        for reply in (body, fence(task.prompt + body)):
            found = candidate(reply, "reply", task, use_black=True)
            assert found.note.endswith(", black") or found == candidate(reply, "reply", task)
            assert program_passes(found, task)
    deep = "    return " + "+".join("1" * 1500)
    assert candidate(deep, "reply", TASK, use_black=True).completion.startswith(deep)


MILLION = 1_000_000
HOSTILE = {
    "statements": "x=1\n", "fences": "```\n", "ticks": "`", "brackets": "(", "quotes": '"""', "headers": "def f():\n",
    "broken bodies": "    x = [1, 2, 3\n", "tags": "<think>", "margins": "    a b\n\nb c\n\n",
    "broken definitions": "```python\ndef total(a):\n    return (\n```\nprose\n\n    x = 1\n\n",
    "future imports": "from __future__ import (\n",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("form", ["reply", "completion", "solution"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_costs_less_than_a_second(name: str, form: str) -> None:
    text = HOSTILE[name] * (MILLION // len(HOSTILE[name]))
    started = time.process_time()
    candidate(text, form, TASK)  # type: ignore[arg-type]
    assert time.process_time() - started < 1.0
