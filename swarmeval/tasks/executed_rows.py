"""Converts rows of custom files that describe executed tasks. Rows in HumanEval's form may stand beside them."""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import msgspec

from swarmeval.errors import DataError
from swarmeval.executed import Case, Comparison, Executed, Rule
from swarmeval.records import Suite, Task
from swarmeval.sandbox.languages import language
from swarmeval.tasks.datasets import Dataset, Row
from swarmeval.tasks.forms import CompletionRow, completion_task, row_as
from swarmeval.tasks.languages import LANGUAGES

MARKS = ("language", "cases")  # a row with one of these fields is an executed task


class CaseRow(msgspec.Struct, forbid_unknown_fields=True):
    """One run of the program and its expected output."""

    stdin: str = ""
    expected: str = ""
    arguments: list[str] = []


class ComparisonRow(msgspec.Struct, forbid_unknown_fields=True):
    """The comparison of outputs; see swarmeval/executed.py."""

    rule: Rule = "tokens"
    tolerance: float = 0.0
    checker: str = ""


class ExecutedRow(msgspec.Struct, forbid_unknown_fields=True):
    """An executed task of a custom file."""

    task_id: str
    language: str
    question: str = ""
    prompt: str = ""  # start of the program, which the model completes; without it, the model writes the whole program
    cases: list[CaseRow] = []
    comparison: ComparisonRow = msgspec.field(default_factory=ComparisonRow)
    files: dict[str, str] = {}
    timeout_s: float | None = None
    memory_mb: int | None = None
    tests: str = ""  # appended to the program
    entry_point: str = ""  # the function that the tests call
    stops: list[str] | None = None  # texts that end a reply in completion mode
    reference: str = ""  # a whole program


class Custom:
    """The form of custom files: executed tasks and rows in HumanEval's form, in any order."""

    def tasks(self, dataset: Dataset) -> list[Task]:
        return [self._task(dataset, number, row) for number, row in enumerate(dataset.rows, start=1)]

    def _task(self, dataset: Dataset, number: int, row: Row) -> Task:
        if not any(mark in row for mark in MARKS):
            return completion_task(row_as(CompletionRow, dataset, number, row))
        found = row_as(ExecutedRow, dataset, number, row)
        for fault in faults(found):
            raise DataError(f"{dataset.path}: task {number}: {fault} (docs/adding-a-benchmark.md)")
        return task(found)


def task(row: ExecutedRow) -> Task:
    comparison = Comparison(row.comparison.rule, row.comparison.tolerance, row.comparison.checker)
    return Task(
        row.task_id,
        row.prompt,
        Suite(row.entry_point, row.tests),
        question=row.question,
        preamble="" if row.prompt else f"{row.question.rstrip()}\n\n```{LANGUAGES[row.language].tag}\n",
        reference=row.reference,
        executed=Executed(
            row.language,
            tuple(Case(case.stdin, case.expected, tuple(case.arguments)) for case in row.cases),
            comparison,
            tuple(row.files.items()),
            row.timeout_s,
            row.memory_mb,
        ),
        answer="function" if row.prompt else "program",
        stops=stops(row),
    )


def stops(row: ExecutedRow) -> tuple[str, ...] | None:
    """The stop texts of the row. The usual ones suit Python functions only."""
    if row.stops is not None:
        return tuple(row.stops)
    return None if row.prompt and row.language == "python" else ("\n```",)


def faults(row: ExecutedRow) -> Iterator[str]:
    """The reasons why a row cannot be judged, each with its field and the remedy."""
    if row.language not in LANGUAGES:
        yield f"language is {row.language!r}; use one of {', '.join(LANGUAGES)}"
        return
    if not (row.question.strip() or row.prompt.strip()):
        yield "question and prompt are empty; write what the program has to do"
    if not row.cases:
        yield from _faults_of_tests(row)
    if row.timeout_s is not None and not 0 < row.timeout_s <= 3600:
        yield f"timeout_s is {row.timeout_s:g}; use more than 0 and at most 3600"
    if row.memory_mb is not None and not 64 <= row.memory_mb <= 1_048_576:
        yield f"memory_mb is {row.memory_mb}; use 64 to 1048576"
    yield from _faults_of_comparison(row)
    for path in row.files:
        if reason := unsafe(path):
            yield f"files names {path!r}, which {reason}; use a relative path inside the program's folder"
    for number, case in enumerate(row.cases, start=1):
        if any("\0" in argument for argument in case.arguments):
            yield f"cases: case {number} has an argument with a null byte; remove it"


def _faults_of_tests(row: ExecutedRow) -> Iterator[str]:
    pattern = language(row.language).ending.before
    if not row.tests.strip():
        yield "cases and tests are empty, so that any program would pass; give at least one case"
    elif not re.search(pattern, row.tests):
        yield f"tests must end with text that matches {pattern!r}, before which the sandbox adds a line of its own"


def _faults_of_comparison(row: ExecutedRow) -> Iterator[str]:
    rule, tolerance, checker = row.comparison.rule, row.comparison.tolerance, row.comparison.checker
    if not 0 <= tolerance < float("inf"):
        yield f"comparison.tolerance is {tolerance:g}; use 0 or more"
    if tolerance and rule != "numbers":
        yield f"comparison.tolerance is {tolerance:g}, but comparison.rule is {rule!r}; set it to 'numbers'"
    if (rule == "checker") != bool(checker):
        yield f"comparison.rule is {rule!r} and comparison.checker is {'given' if checker else 'empty'}; give both"
    if rule == "checker" and not row.cases:
        yield "comparison.rule is 'checker', but cases is empty; give at least one case"
    if checker and not defines_check(checker):
        yield "comparison.checker is not Python source that defines check(stdin, expected, output)"


def defines_check(source: str) -> bool:
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in body)


def unsafe(path: str) -> str:
    """The reason why a path is not accepted; "" if it is."""
    parts = PurePosixPath(path).parts
    if not parts or "\0" in path:
        return "is not a path"
    if path.startswith("/"):
        return "is absolute"
    return "leaves the folder" if ".." in parts else ""
