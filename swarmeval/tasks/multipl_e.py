"""Converts rows of MultiPL-E (arXiv 2208.08227): HumanEval and MBPP, translated to other languages with their tests."""

import re
from collections.abc import Mapping

import msgspec

from swarmeval.errors import DataError
from swarmeval.executed import Executed
from swarmeval.records import Suite, Task
from swarmeval.tasks.datasets import Dataset
from swarmeval.tasks.forms import rows_as

REPO = "nuprl/MultiPL-E"
# Name of a language in the published set -> its name here.
LANGUAGES: Mapping[str, str] = {
    "js": "javascript", "ts": "typescript", "cpp": "cpp", "java": "java", "go": "go", "rs": "rust", "php": "php",
    "rb": "ruby", "pl": "perl", "lua": "lua", "r": "r", "sh": "bash",
}  # fmt: skip
# How the tests of most languages name the function under test: an assignment, or a function that passes calls on.
CANDIDATE = re.compile(r"candidate(?:\([^)]*\) \{\s*(?:return )?| (?::=|=|<-) )(?:\\&|method\(:)?(\w+)")
ASSERTED = re.compile(r"assert\((\w+)\(")  # Java


class MultiPLERow(msgspec.Struct):
    """A row of nuprl/MultiPL-E."""

    name: str
    language: str
    prompt: str
    tests: str
    stop_tokens: list[str]


class MultiPLE:
    """MultiPL-E's form: the model completes a function, and tests in its language are appended to the program."""

    def __init__(self, language: str) -> None:
        """`language` is a published name: "js", "rs", ..."""
        self._language = language

    def tasks(self, dataset: Dataset) -> list[Task]:
        rows = rows_as(MultiPLERow, dataset)
        for number, row in enumerate(rows, start=1):
            found = row.language.removesuffix("_test.go")  # "go_test.go", as the tests' file is named
            if found != self._language:
                raise DataError(
                    f"{dataset.path}: task {number}: language is {row.language!r}, but this benchmark is in "
                    f"{self._language!r}; choose the benchmark of that language"
                )
            if not row.tests.strip():
                raise DataError(f"{dataset.path}: task {number}: tests is empty; download the file again")
        return [self._task(row) for row in rows]

    def _task(self, row: MultiPLERow) -> Task:
        return Task(
            row.name,
            row.prompt,
            Suite(entry_point(row), row.tests),
            executed=Executed(LANGUAGES[self._language]),
            stops=tuple(row.stop_tokens),
        )


def entry_point(row: MultiPLERow) -> str:
    """The function that the tests call; else the original function's name, from `HumanEval_0_has_close_elements`."""
    match = CANDIDATE.search(row.tests) or ASSERTED.search(row.tests)
    return match[1] if match is not None else row.name.split("_", 2)[-1]
