"""What a report shows of a task itself: its prompt, the beginning of its programs, its tests and its reference."""

from collections.abc import Sequence
from dataclasses import dataclass

from swarmeval.records import Task

MOST_OF_ONE = 20_000  # characters of a task's tests, and of its reference
MOST_OF_ALL = 6_000_000  # characters of the tests of all tasks, before they are compressed


@dataclass(frozen=True, slots=True)
class TaskTexts:
    """The texts of one task; `source` and `reference` are None if they are unknown or too long to be shown whole."""

    prompt: str = ""  # what a model was asked
    source: str | None = None  # what every program of this task begins with
    tests: str = ""
    reference: str | None = None


def task_texts(tasks: Sequence[Task]) -> tuple[dict[str, TaskTexts], str]:
    """By task, and a sentence about what was cut; "" if nothing was."""
    most = max(500, min(MOST_OF_ONE, MOST_OF_ALL // max(1, len(tasks))))
    texts = {
        task.task_id: TaskTexts(
            task.question or task.prompt,
            task.prompt if len(task.prompt) <= most else None,
            shortened(task.suite.text, most),
            task.reference if 0 < len(task.reference) <= most else None,
        )
        for task in tasks
    }
    number = sum(len(task.suite.text) > most for task in tasks)
    were = f"of {number:,} tasks are" if number > 1 else "of one task are"
    return texts, f"The tests {were} cut after {most:,} characters here." if number else ""


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}\n[{len(text) - most:,} more characters]"
