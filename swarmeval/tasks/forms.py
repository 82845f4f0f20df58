"""How the rows of published files become tasks: HumanEval's form, MBPP's, and that of self-invoking problems.

Field names are those of the files. A prompt is what the judged program begins with; a question is what a chat model is
asked where that is not to complete the prompt.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from swarmeval.errors import DataError
from swarmeval.extraction.names import names, used_names
from swarmeval.extraction.syntax import parse, stub_end
from swarmeval.records import Suite, Task
from swarmeval.tasks.datasets import Dataset


class Form(Protocol):
    """How the rows of a benchmark become its tasks."""

    def tasks(self, dataset: Dataset) -> list[Task]:
        """Raises DataError for rows of another form."""


class CompletionRow(msgspec.Struct):
    """A row of openai/human-eval, evalplus/humanevalplus or evoeval."""

    task_id: str
    prompt: str
    entry_point: str
    test: str  # defines check(candidate), or asserts at once
    canonical_solution: str = ""


class Completions:
    """HumanEval's form: a function is begun and to be completed."""

    def tasks(self, dataset: Dataset) -> list[Task]:
        return [self._task(row) for row in rows_as(CompletionRow, dataset)]

    def _task(self, row: CompletionRow) -> Task:
        call = f"\ncheck({row.entry_point})" if "def check(" in row.test else ""
        suite = Suite(row.entry_point, f"{row.test}{call}", context=row.prompt + stub_end(row.prompt))
        return Task(row.task_id, row.prompt, suite, reference=row.canonical_solution)


class FunctionRow(msgspec.Struct):
    """A row of google-research/mbpp, or of evalplus/mbppplus, which says `prompt` for `text` and has one `test`."""

    task_id: int
    code: str
    test_list: list[str]
    text: str = ""
    prompt: str = ""
    test: str = ""
    test_setup_code: str = ""


class Functions:
    """MBPP's form: a function is described and to be written, by the name that its tests call.

    The prompt is a docstring of the text and the first assertion, that of bigcode-evaluation-harness (tasks/mbpp.py)
    and of EvalPlus; a chat model is asked for what stands in it.
    """

    QUESTION = (
        "Write a Python function for the following task. Reply with the whole function, imports included, in one "
        "Python code block.\n\n{text}\n\nThe function must pass this test:\n```python\n{test}\n```"
    )

    def __init__(self, prefix: str, ids: range | None = None) -> None:
        """`prefix` of task ids; `ids`: the rows that the benchmark is made of, where not all are."""
        self._prefix = prefix
        self._ids = ids

    def tasks(self, dataset: Dataset) -> list[Task]:
        rows = rows_as(FunctionRow, dataset)
        chosen = [(number, row) for number, row in enumerate(rows, 1) if self._ids is None or row.task_id in self._ids]
        for number, row in chosen:
            if not any(test.strip() for test in row.test_list):
                raise DataError(f"{dataset.path}: task {number}: test_list holds no test; give at least one assertion")
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
    """The form of HumanEval Pro (arXiv 2412.21199): a base problem, and a new one whose solution calls the base's.

    One reply answers both. The new problem's tests are the task's; those of the base problem come from the benchmark
    that it was taken from. Prompts are those of the paper's harness (CodeEval-Pro, eval/utils.py, prompt_template.py).
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
        """`bases` gives the base problems' tests by "id/entry point", or by entry point where ids differ."""
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


Row = TypeVar("Row", bound=msgspec.Struct)


def rows_as(kind: type[Row], dataset: Dataset) -> list[Row]:
    """The rows of a file by the fields that a form needs. Raises DataError that names the row and the field."""
    rows = []
    for number, row in enumerate(dataset.rows, start=1):
        try:
            rows.append(msgspec.convert(row, kind))
        except msgspec.ValidationError as error:
            raise DataError(
                f"{dataset.path}: task {number}: {error}; docs/adding-a-benchmark.md has the form"
            ) from None
    return rows


def called(tests: str, solution: str) -> str:
    """The function that tests are about: the last one that the solution defines, of those that they call.

    "" where that cannot be told.
    """
    try:
        used = used_names(parse(tests))
        return next((name for name in reversed(functions(solution)) if name in used), "")
    except SyntaxError:
        return ""


def docstring(text: str) -> str:
    """A docstring that holds the text: as it is, as the published harnesses write it, or escaped where Python asks."""
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
    """Its name; "" where there is none."""
    try:
        return (functions(source) or [""])[-1]
    except SyntaxError:
        return ""


def functions(source: str) -> list[str]:
    """What is defined at the margin and can be called, in order. Raises SyntaxError."""
    kinds = (ast.FunctionDef, ast.Assign)
    return [name for node in parse(source).body if isinstance(node, kinds) for name in sorted(names(node).bound)]


def imports(source: str) -> str:
    """The import statements at its margin, a line each."""
    try:
        body = parse(source).body
    except SyntaxError:
        return ""
    return "\n".join(ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom))


def unique(tasks: Sequence[Task], dataset: Dataset) -> tuple[Task, ...]:
    """The tasks. Raises DataError where two have one name."""
    seen: set[str] = set()
    for task in tasks:
        if task.task_id in seen:
            raise DataError(f"{dataset.path}: task_id {task.task_id!r} stands twice; names must differ")
        seen.add(task.task_id)
    return tuple(tasks)
