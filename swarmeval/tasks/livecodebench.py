"""Converts rows of LiveCodeBench's code generation set (arXiv 2403.07974): dated problems of programming contests.

A program that reads standard input is executed, and its output is compared. A method of a class Solution is called
with plain data. Prompts, imports and comparisons are those of the published harness (LiveCodeBench/LiveCodeBench,
lcb_runner/prompts/code_generation.py and evaluation/testing_util.py).
"""

from collections.abc import Mapping, Sequence

import msgspec

from swarmeval.errors import DataError
from swarmeval.executed import Case, Comparison, Executed
from swarmeval.records import Suite, Task
from swarmeval.settings.released import Window
from swarmeval.tasks.datasets import Dataset, Row
from swarmeval.tasks.forms import rows_as
from swarmeval.tasks.packed_tests import TestRow, UnreadableTests, unpacked

REPO = "livecodebench/code_generation_lite"
FILES = ("test.jsonl", "test2.jsonl", "test3.jsonl", "test4.jsonl", "test5.jsonl", "test6.jsonl")  # one per release
TIMEOUT_S = 6.0  # of one case
STOPS = ("###",)

# The harness runs every answer below these imports, so that answers may use their names.
STARRED = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools",
    "functools", "operator", "io", "sys", "json", "builtins", "typing",
)  # fmt: skip
NAMED = STARRED[:-2]
IMPORTS = "\n".join(
    [
        *(f"from {module} import *" for module in STARRED),
        *(f"import {module}" for module in NAMED),
        "sys.setrecursionlimit(50000)\n",
    ]
)

SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and will generate a "
    "correct Python program that matches the specification and passes all tests. You will NOT return anything except "
    "for the program."
)
WITH_STARTER = (
    "You will use the following starter code to write the solution to the problem and enclose your code within "
    "delimiters."
)
WITH_STDIN = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on the sample "
    "inputs). Enclose your code within delimiters as follows."
)
QUESTION = (
    "{system}\n\n### Question:\n{content}\n\n### Format: {format}\n```python\n{start}\n```\n\n"
    "### Answer: (use the provided format with backticks)\n\n"
)
# The harness calls a method of one object of class Solution, or a function if there is no such class.
ADAPTER = "\n\nif 'Solution' in globals():\n    {name} = Solution().{name}\n"
TESTS = """\
import json

CASES = [  # arguments, one per line, and the expected value, as JSON
{cases}]


def check(candidate):
    for arguments, expected in CASES:
        found = candidate(*map(json.loads, arguments.split("\\n")))
        assert (list(found) if isinstance(found, tuple) else found) == json.loads(expected)


check({name})
"""


class ProblemRow(msgspec.Struct):
    """A row of livecodebench/code_generation_lite."""

    question_id: str
    question_content: str
    contest_date: str
    starter_code: str
    public_test_cases: str
    private_test_cases: str
    metadata: str


class LiveCodeBench:
    """LiveCodeBench's form: the model writes a whole Python program, or a class Solution with one method."""

    def tasks(self, dataset: Dataset) -> list[Task]:
        return [self._task(dataset, number, row) for number, row in enumerate(rows_as(ProblemRow, dataset), start=1)]

    def _task(self, dataset: Dataset, number: int, row: ProblemRow) -> Task:
        where = f"{dataset.path}: task {number} ({row.question_id})"
        try:
            tests = [*unpacked(row.public_test_cases), *unpacked(row.private_test_cases)]
            name = msgspec.convert(msgspec.json.decode(row.metadata), dict[str, object]).get("func_name")
        except (UnreadableTests, msgspec.DecodeError, msgspec.ValidationError) as error:
            raise DataError(f"{where}: its tests cannot be read ({error}); download the file again") from None
        if not tests:
            raise DataError(f"{where}: it has no test; download the file again")
        if name is not None and not (isinstance(name, str) and name.isidentifier()):
            raise DataError(f"{where}: func_name is {name!r}, which is not a name; download the file again")
        return called(row, name, tests) if name is not None else executed(row, tests)


def executed(row: ProblemRow, tests: Sequence[TestRow]) -> Task:
    """A program that reads standard input."""
    cases = tuple(Case(test.input, test.output) for test in tests)
    asked = question(row)
    return Task(
        row.question_id,
        IMPORTS,
        Suite("", ""),
        question=asked,
        preamble=asked,
        executed=Executed("python", cases, Comparison("livecodebench"), timeout_s=TIMEOUT_S),
        answer="program",
        stops=STOPS,
    )


def called(row: ProblemRow, name: str, tests: Sequence[TestRow]) -> Task:
    """A method or function that is called with plain data."""
    cases = "".join(f"    ({test.input!r}, {test.output!r}),\n" for test in tests)
    asked = question(row)
    return Task(
        row.question_id,
        IMPORTS,
        Suite(name, TESTS.format(cases=cases, name=name)),
        question=asked,
        preamble=asked,
        answer="program",
        ending=ADAPTER.format(name=name),
        stops=STOPS,
    )


def question(row: ProblemRow) -> str:
    return QUESTION.format(
        system=SYSTEM,
        content=row.question_content,
        format=WITH_STARTER if row.starter_code else WITH_STDIN,
        start=row.starter_code or "# YOUR CODE HERE",
    )


def released(row: Mapping[str, object]) -> str:
    """The date of a row, "2023-08-21T00:00:00"; "" if it has none."""
    return str(row.get("contest_date", ""))


def months(rows: Sequence[Row]) -> Window:
    """The months of the first and of the last row."""
    dates = [released(row)[: len("2023-08")] for row in rows]
    return Window(min(dates, default=""), max(dates, default=""))
