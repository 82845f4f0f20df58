"""Custom files may contain executed tasks, beside rows in HumanEval's form; wrong rows are refused in one line."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from swarmeval.errors import DataError
from swarmeval.executed import Case, Comparison, Executed
from swarmeval.records import Suite, Task
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import STOPS, make_request
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import load
from tests.support.checkout import ROOT
from tests.support.manual import DOCS, blocks

PUBLISHED = ROOT.parent / "shared" / "data" / "executed"  # the published files, if present

CALLED = {
    "task_id": "Own/0",
    "prompt": "def double(x):\n",
    "entry_point": "double",
    "test": "def check(candidate):\n    assert candidate(2) == 4",
}
CASES = {
    "task_id": "Own/1",
    "language": "cpp",
    "question": "Write a C++ program that prints the sum of two numbers.",
    "cases": [{"stdin": "1 2\n", "expected": "3\n"}, {"expected": "0", "arguments": ["--zero"]}],
    "reference": "int main() {}",
}
OWN_TESTS = {
    "task_id": "Own/2",
    "language": "lua",
    "prompt": "local function double(x)\n",
    "tests": "assert(double(2) == 4)",
    "entry_point": "double",
    "stops": ["\nlocal"],
}
CHECKED = {
    "task_id": "Own/3",
    "language": "python",
    "question": "Print any even number.",
    "cases": [{}],
    "comparison": {
        "rule": "checker",
        "checker": "def check(stdin, expected, output):\n    return int(output) % 2 == 0",
    },
    "files": {"data/numbers.txt": "2\n"},
    "timeout_s": 2,
    "memory_mb": 256,
}


def loaded(folder: Path, *rows: dict[str, Any]) -> tuple[Task, ...]:
    path = folder / "tasks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load("custom", str(path)).tasks


def test_every_kind_of_task_may_stand_in_one_file(tmp_path: Path) -> None:
    called, cases, own, checked = loaded(tmp_path, CALLED, CASES, OWN_TESTS, CHECKED)
    assert (called.executed, called.answer) == (None, "function")
    assert cases.executed == Executed("cpp", (Case("1 2\n", "3\n"), Case("", "0", ("--zero",))))
    assert (cases.answer, cases.reference, cases.language) == ("program", "int main() {}", "cpp")
    assert own.executed == Executed("lua")
    assert (own.suite, own.answer) == (Suite("double", "assert(double(2) == 4)"), "function")
    assert checked.executed == Executed(
        "python",
        (Case(),),
        Comparison("checker", 0.0, "def check(stdin, expected, output):\n    return int(output) % 2 == 0"),
        (("data/numbers.txt", "2\n"),),
        2.0,
        256,
    )


def test_prompts_fit_the_kind_of_task(tmp_path: Path) -> None:
    python = {**OWN_TESTS, "task_id": "Own/4", "language": "python", "prompt": "def double(x):\n", "stops": None}
    plan, config = Plan(make_agents(RunConfig()), loaded(tmp_path, CASES, OWN_TESTS, python)), RunConfig()
    program, own, usual = (make_request(plan, k, "completion", config) for k in range(3))
    assert program.text == f"{CASES['question']}\n\n```cpp\n"
    assert program.sampling.stop == ("\n```",)
    assert own.text == "local function double(x)"
    assert own.sampling.stop == ("\nlocal",)
    assert usual.sampling.stop == STOPS
    assert make_request(plan, 0, "chat", config).messages[0].content == CASES["question"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (OWN_TESTS | {"language": "go", "tests": "func TestDouble(t *testing.T) {"}, r"tests must end with text that "
         "matches '\\\\}\\\\s*\\\\Z', before which the sandbox adds a line of its own (docs/adding-a-benchmark.md)"),
        (CASES | {"language": "cobol"}, "language is 'cobol'; use one of python, javascript, typescript, cpp, java, "
         "go, rust, php, ruby, perl, lua, r, bash (docs/adding-a-benchmark.md)"),
        (CASES | {"cases": []}, "cases and tests are empty, so that any program would pass; give at least one case "
         "(docs/adding-a-benchmark.md)"),
        (CASES | {"question": " "}, "question and prompt are empty; write what the program has to do "
         "(docs/adding-a-benchmark.md)"),
        (CASES | {"timeout_s": 0}, "timeout_s is 0; use more than 0 and at most 3600 (docs/adding-a-benchmark.md)"),
        (CASES | {"memory_mb": 1}, "memory_mb is 1; use 64 to 1048576 (docs/adding-a-benchmark.md)"),
        (CASES | {"files": {"../x": ""}}, "files names '../x', which leaves the folder; use a relative path inside the "
         "program's folder (docs/adding-a-benchmark.md)"),
        (CASES | {"files": {"/etc/passwd": ""}}, "files names '/etc/passwd', which is absolute; use a relative path "
         "inside the program's folder (docs/adding-a-benchmark.md)"),
        (CASES | {"comparison": {"rule": "numbers", "tolerance": -1}}, "comparison.tolerance is -1; use 0 or more "
         "(docs/adding-a-benchmark.md)"),
        (CASES | {"comparison": {"tolerance": 0.1}}, "comparison.tolerance is 0.1, but comparison.rule is 'tokens'; "
         "set it to 'numbers' (docs/adding-a-benchmark.md)"),
        (CASES | {"comparison": {"rule": "checker"}}, "comparison.rule is 'checker' and comparison.checker is empty; "
         "give both (docs/adding-a-benchmark.md)"),
        (CASES | {"comparison": {"rule": "checker", "checker": "x = 1"}}, "comparison.checker is not Python source "
         "that defines check(stdin, expected, output) (docs/adding-a-benchmark.md)"),
        (OWN_TESTS | {"comparison": {"rule": "checker", "checker": "def check(a, b, c): ..."}}, "comparison.rule is "
         "'checker', but cases is empty; give at least one case (docs/adding-a-benchmark.md)"),
        (CASES | {"cases": [{"arguments": ["\0"]}]}, "cases: case 1 has an argument with a null byte; remove it "
         "(docs/adding-a-benchmark.md)"),
        (CASES | {"cases": [{"stdin": 3}]}, "Expected `str`, got `int` - at `$.cases[0].stdin`; "
         "docs/adding-a-benchmark.md has the formats"),
        (CASES | {"timeout": 3}, "Object contains unknown field `timeout`; docs/adding-a-benchmark.md has the formats"),
        (CASES | {"comparison": {"rule": "fuzzy"}}, "Invalid enum value 'fuzzy' - at `$.comparison.rule`; "
         "docs/adding-a-benchmark.md has the formats"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_refused_in_one_line(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(f'{tmp_path}/tasks.jsonl: task 2: {said}')}$"):
        loaded(tmp_path, CALLED, row)


def ran(folder: Path, source: str, made: str) -> tuple[Task, ...]:
    """Run a script of the manual in a folder, and load the file that it makes."""
    subprocess.run([sys.executable, "-c", source], cwd=folder, check=True)
    return load("custom", str(folder / made)).tasks


@pytest.mark.slow
def test_the_scripts_of_the_manual_make_tasks(tmp_path: Path) -> None:
    kinds, contests = (block.text for block in blocks(DOCS / "executed-tasks.md") if block.kind == "python")
    called, cases, own, checked = ran(tmp_path, kinds, "programs.jsonl")
    assert [task.language for task in (called, cases, own, checked)] == ["python", "python", "javascript", "bash"]
    assert all(task.reference for task in (called, cases, own, checked))
    tests = {"input": ["1\n"], "output": ["2\n"]}
    none: dict[str, list[str]] = {"input": [], "output": []}
    row = {"name": "1_A. Sum", "description": "Add one.", "public_tests": tests, "private_tests": none,
           "generated_tests": tests, "time_limit": {"seconds": 2, "nanos": 500_000_000}}  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "valid.parquet")
    (task,) = ran(tmp_path, contests, "contests.jsonl")
    assert task.executed == Executed("python", (Case("1\n", "2\n"), Case("1\n", "2\n")), timeout_s=2.5)


def from_code_contests(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the published copy, whose tests are JSON."""
    cases = [{"stdin": one["input"]["stdin"], "expected": one["output"]["stdout"]} for one in json.loads(row["test"])]
    return {"task_id": f"CodeContests/{row['id']}", "language": "python", "question": row["content"], "cases": cases}


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published files are not beside this checkout")
def test_published_sets_of_cases_can_be_converted(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (PUBLISHED / "code_contests.jsonl").read_text().splitlines()]
    tasks = loaded(tmp_path, *map(from_code_contests, rows))
    assert len(tasks) == 20
    assert all(task.executed is not None and task.executed.cases for task in tasks)
