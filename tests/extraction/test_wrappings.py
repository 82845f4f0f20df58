"""Correct answers pass in every wrapping, wrong ones still fail, and nothing is added that is not in the reply."""

import pytest

from swarmeval.extraction.candidate import candidate
from swarmeval.records import Task
from tests.support.wrappings import BODY, REBUILT, TASK, WRAPPINGS, canonical, program_passes, same_code


@pytest.mark.parametrize("name", WRAPPINGS | REBUILT)
def test_a_right_answer_survives(name: str) -> None:
    found = candidate((WRAPPINGS | REBUILT)[name](TASK, BODY), "reply", TASK)
    assert program_passes(found, TASK), found


def assert_survives(name: str, task: Task, body: str) -> None:
    found = candidate(WRAPPINGS[name](task, body), "reply", task)
    if name == "body with curly quotes":
        body = '    note = "it\'s"\n' + body
    assert same_code(found, task, body), (task.task_id, found)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRAPPINGS)
def test_all_canonical_solutions_survive(name: str) -> None:
    for task, body in canonical():
        assert_survives(name, task, body)


@pytest.mark.slow
@pytest.mark.parametrize("name", REBUILT)
def test_canonical_solutions_pass_in_another_build(name: str) -> None:
    for task, body in canonical()[::6]:
        found = candidate(REBUILT[name](task, body), "reply", task)
        assert program_passes(found, task), (task.task_id, found)
