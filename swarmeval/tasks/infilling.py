"""HumanEval infilling (Bavarian et al. 2022, arXiv 2207.14255): a model fills a gap in a canonical solution.

Single-line and multi-line tasks are derived from HumanEval and equal the published ones. The gaps of random-span tasks
were drawn at random, so these tasks come from the published file only (github.com/openai/human-eval-infilling).
"""

from collections.abc import Callable, Iterator

import msgspec

from swarmeval.records import Suite, Task
from swarmeval.tasks import datasets
from swarmeval.tasks.datasets import Dataset
from swarmeval.tasks.forms import Completions, rows_as

RANDOM_SPANS = "HumanEval-RandomSpanInfilling.jsonl.gz of github.com/openai/human-eval-infilling"
# A chat model has no place for a prefix and a suffix, so it is asked in words.
QUESTION = (
    "A part of the following Python program is missing. Write the missing part. Reply with the missing part only, "
    "indented as the program requires, in one Python code block.\n\n"
    "The program before the missing part:\n```python\n{before}\n```\n\n"
    "The program after the missing part:\n```python\n{after}\n```"
)

Gap = tuple[str, int, int]  # its name, and the numbers of its first and last line


class InfillingRow(msgspec.Struct):
    """A row of a file of openai/human-eval-infilling."""

    task_id: str
    prompt: str
    suffix: str
    canonical_solution: str
    test: str
    entry_point: str


class Infilling:
    """The rows of a published file, or the gaps made in the rows of HumanEval."""

    def __init__(self, prefix: str = "", gaps: Callable[[list[int]], Iterator[Gap]] | None = None) -> None:
        """`prefix` is that of task ids. `gaps` yields the gaps in a solution from the numbers of its nonblank lines."""
        self._prefix = prefix
        self._gaps = gaps

    def tasks(self, dataset: Dataset) -> list[Task]:
        if self._gaps is None or any("suffix" in row for row in dataset.rows):
            return _published(dataset)
        tasks = []
        for whole in Completions().tasks(dataset):
            lines = whole.reference.split("\n")
            for name, first, last in self._gaps([number for number, line in enumerate(lines) if line.strip()]):
                # A published prompt that ends where the solution begins has one more newline.
                before = "".join(f"{line}\n" for line in lines[:first]) or "\n"
                middle = "".join(f"{line}\n" for line in lines[first : last + 1])
                rest = "\n".join(lines[last + 1 :])
                task_id = f"{self._prefix}{whole.task_id}/{name}"
                tasks.append(_task(task_id, whole.prompt + before, middle, rest, whole.suite))
        return tasks


def single_lines(lines: list[int]) -> Iterator[Gap]:
    """Yield every line."""
    yield from ((f"L{line}", line, line) for line in lines)


def line_spans(lines: list[int]) -> Iterator[Gap]:
    """Yield every span that begins and ends with a nonblank line."""
    yield from ((f"L{first}_L{last}", first, last) for first in lines for last in lines if first <= last)


def _published(dataset: Dataset) -> list[Task]:
    """The tasks of a published file. Names that their tests use are defined as in HumanEval, which their ids name."""
    whole = {task.task_id: task.suite.context for task in Completions().tasks(datasets.from_package())}
    tasks = []
    for row in rows_as(InfillingRow, dataset):
        context = whole.get("/".join(row.task_id.split("/")[1:3]), "")
        suite = Suite(row.entry_point, f"{row.test}\ncheck({row.entry_point})", context=context)
        tasks.append(_task(row.task_id, row.prompt, row.canonical_solution, row.suffix, suite))
    return tasks


def _task(task_id: str, prompt: str, middle: str, ending: str, suite: Suite) -> Task:
    question = QUESTION.format(before=prompt.strip("\n"), after=ending.rstrip("\n"))
    # No harness ends a reply at a text of its own: a model trained to fill gaps ends its reply by a special token.
    return Task(
        task_id, prompt, suite, question, reference=middle, ending=ending, stops=(), infilling=True
    )  # fmt: skip
