"""Converts rows of BigCodeBench (arXiv 2406.15877): functions that use many libraries, with unittest suites.

Prompts, stop texts and the order of a program's parts are those of the published harness (bigcode-project/bigcodebench,
provider/utility.py, evaluate.py and eval/__init__.py). A program starts with the imports and the signature of its task,
as in the harness's default, "calibrated", so that an answer may omit them.
"""

from typing import Literal, get_args

import msgspec

from swarmeval.errors import DataError
from swarmeval.executed import Executed
from swarmeval.records import Suite, Task
from swarmeval.tasks.datasets import Dataset
from swarmeval.tasks.forms import rows_as

Split = Literal["complete", "instruct"]
SPLITS: tuple[Split, ...] = get_args(Split)
REPO, HARD_REPO = "bigcode/bigcodebench", "bigcode/bigcodebench-hard"
FILE = "data/v0.1.4-00000-of-00001.parquet"
TIMEOUT_S = 240.0  # of a program with its tests, as published
STOPS = (
    "\nif __name__", "\ndef main(", "\nprint(", "\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ",
    "<|endoftext|>", "<|endofmask|>", "</s>",
)  # fmt: skip
REQUEST = "Please provide a self-contained Python script that solves the following problem in a markdown code block:\n"

# The harness runs programs in an empty folder, and in a module that already has these names.
BEFORE = """
globals().update({"os": __import__("os"), "sys": __import__("sys"), "environ": __import__("os").environ, **globals()})
os.chdir(__import__("tempfile").mkdtemp())
"""
# The harness captures all output of the tests, which may fail to restore it. An error is one line, so that no name of a
# test is taken for it. Tests may name the module as the harness does.
AFTER = """

def run_all_tests():
    import contextlib, io, sys, unittest

    sys.modules["__test__"] = sys.modules["__main__"]
    suite, result = unittest.TestLoader().loadTestsFromTestCase(TestCases), unittest.TestResult()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        suite.run(result)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    problems = [trace for test, trace in result.failures + result.errors]
    for trace in problems:
        lines = trace.rpartition('\\n  File "')[2].splitlines()[1:]
        print(next((line for line in lines if line[:1].strip()), "an error"), file=sys.stderr)
    if problems or not result.testsRun:
        sys.exit(1 if problems else "RuntimeError: no test ran")


run_all_tests()
"""


class BigCodeBenchRow(msgspec.Struct):
    """A row of bigcode/bigcodebench or bigcode/bigcodebench-hard."""

    task_id: str
    complete_prompt: str  # imports, constants, signature and docstring
    instruct_prompt: str
    canonical_solution: str  # the body
    code_prompt: str  # complete_prompt without the docstring
    test: str  # defines TestCases
    entry_point: str


class BigCodeBench:
    """BigCodeBench's form: the model writes a function, which is executed with its tests."""

    def __init__(self, split: Split) -> None:
        """`split`: whether the model completes a docstring, or follows an instruction."""
        self._split = split

    def tasks(self, dataset: Dataset) -> list[Task]:
        rows = rows_as(BigCodeBenchRow, dataset)
        for number, row in enumerate(rows, start=1):
            if "class TestCases" not in row.test:
                raise DataError(f"{dataset.path}: task {number}: test has no class TestCases; download the file again")
        return [self._task(row) for row in rows]

    def _task(self, row: BigCodeBenchRow) -> Task:
        completes = self._split == "complete"
        asked = f"```\n{row.complete_prompt.strip()}\n```" if completes else row.instruct_prompt.strip()
        question = f"{REQUEST}{asked}\n"
        return Task(
            row.task_id,
            ended(row.complete_prompt if completes else row.code_prompt),
            Suite(row.entry_point, f"{BEFORE}\n{row.test}\n{AFTER}"),
            question=question,
            preamble="" if completes else f"{question}\n```python\n",
            reference=f"{row.complete_prompt}\n{row.canonical_solution}",
            executed=Executed("python", timeout_s=TIMEOUT_S),
            stops=STOPS if completes else (*STOPS, "\n```"),
        )


def ended(prompt: str) -> str:
    """The prompt with a newline at its end, which a body must follow."""
    return prompt if prompt.endswith("\n") else f"{prompt}\n"
