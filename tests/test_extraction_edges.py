"""Extraction at its edges: black, tasks without a stub, other names, and what repairs leave alone."""

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
