"""The texts of a task in a report: its prompt, the common start of its programs, its tests and its reference."""

from collections.abc import Sequence
from dataclasses import dataclass

from swarmeval.records import Task
from swarmeval.tasks.shown import program_start, shortened, shown_tests

MOST_OF_ONE = 20_000  # characters per text of one task
MOST_OF_ALL = 6_000_000  # characters of the tests of all tasks, uncompressed


@dataclass(frozen=True, slots=True)
class TaskTexts:
    """The texts of one task; `source` and `reference` are None if unknown or too long to show in full."""

    prompt: str = ""  # the question or the code to complete
    source: str | None = None  # the start of every program of this task
    tests: str = ""
    reference: str | None = None


def task_texts(tasks: Sequence[Task]) -> tuple[dict[str, TaskTexts], str]:
    """(texts by task id, a sentence on truncated tests or "")."""
    most = max(500, min(MOST_OF_ONE, MOST_OF_ALL // max(1, len(tasks))))
    tests = {task.task_id: shown_tests(task) for task in tasks}
    texts = {
        task.task_id: TaskTexts(
            task.question or task.prompt,
            source if len(source := program_start(task)) <= most else None,
            shortened(tests[task.task_id], most),
            task.reference if 0 < len(task.reference) <= most else None,
        )
        for task in tasks
    }
    number = sum(len(text) > most for text in tests.values())
    were = f"of {number:,} tasks are" if number > 1 else "of one task are"
    return texts, f"The tests {were} truncated after {most:,} characters." if number else ""
