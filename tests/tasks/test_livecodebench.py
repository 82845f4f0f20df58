"""LiveCodeBench: tests are unpacked safely, methods are called, programs are executed, and dates select tasks."""

import asyncio
import base64
import json
import os
import pickle
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from human_eval_runner import Judge
from swarmeval.errors import ConfigError, DataError
from swarmeval.executed import Case, Comparison, Executed
from swarmeval.records import Completion, Outcome, Task
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import REGISTRY, chosen, load
from swarmeval.tasks.livecodebench import IMPORTS, SYSTEM
from swarmeval.tasks.packed_tests import TestRow, UnreadableTests, unpacked, unpickled
from tests.support.checkout import ROOT
from tests.support.command_line import swarmeval

PUBLISHED = ROOT.parent / "shared" / "data" / "executed" / "live_code_bench_v1.jsonl"  # in another form

PUBLIC = [{"input": "1 2\n", "output": "3", "testtype": "stdin"}]
PRIVATE = [{"input": "5 5\n", "output": "10", "testtype": "stdin"}]


def packed(value: object) -> str:
    """A text in the published form; a dict or list becomes JSON first, as published."""
    text = json.dumps(value) if isinstance(value, dict | list) else value
    return base64.b64encode(zlib.compress(pickle.dumps(text))).decode()


STDIN = {
    "question_title": "Sum",
    "question_content": "Print the sum of two numbers.",
    "platform": "atcoder",
    "question_id": "abc999_a",
    "contest_id": "abc999",
    "contest_date": "2024-08-03T00:00:00",
    "starter_code": "",
    "difficulty": "easy",
    "public_test_cases": json.dumps(PUBLIC),
    "private_test_cases": packed(PRIVATE),
    "metadata": "{}",
}
CASES = [
    {"input": "[1, 2]\n3", "output": "[3, 6]", "testtype": "functional"},
    {"input": "[]\n3", "output": "[]", "testtype": "functional"},
]
METHOD = STDIN | {
    "question_id": "9999",
    "contest_date": "2025-01-31T00:00:00",
    "starter_code": "class Solution:\n    def scaled(self, xs: List[int], by: int) -> List[int]:\n        ",
    "public_test_cases": json.dumps(CASES[:1]),
    "private_test_cases": packed(CASES[1:]),
    "metadata": '{"func_name": "scaled"}',
}


def written(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_program_is_executed_on_public_and_private_cases(tmp_path: Path) -> None:
    (task,) = load("livecodebench_v1", written(tmp_path, STDIN)).tasks
    cases = (Case("1 2\n", "3"), Case("5 5\n", "10"))
    assert task.executed == Executed("python", cases, Comparison("livecodebench"), timeout_s=6.0)
    assert (task.task_id, task.answer, task.prompt, task.suite.text) == ("abc999_a", "program", IMPORTS, "")


def test_the_question_is_the_published_prompt_in_both_modes(tmp_path: Path) -> None:
    tasks = load("livecodebench", written(tmp_path, STDIN, METHOD)).tasks
    plan, config = Plan(make_agents(RunConfig()), tasks), RunConfig()
    for k, (formatted, start) in enumerate(
        [("Read the inputs from stdin", "# YOUR CODE HERE"), ("You will use the following starter", "class Solution:")]
    ):
        chat, raw = (make_request(plan, k, mode, config) for mode in ("chat", "completion"))
        assert raw.text == chat.messages[0].content
        assert raw.sampling.stop == ("###",)
        assert raw.text.startswith(
            f"{SYSTEM}\n\n### Question:\nPrint the sum of two numbers.\n\n### Format: {formatted}"
        )
        assert f"\n```python\n{start}" in raw.text
        assert raw.text.endswith("\n```\n\n### Answer: (use the provided format with backticks)\n\n")


def test_names_of_the_published_imports_exist() -> None:
    code = f"{IMPORTS}print(List, heappush, defaultdict, math, stdin, accumulate, sys.getrecursionlimit())"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith(" 50000\n")


METHODS = {
    "class Solution:\n    def scaled(self, xs: List[int], by: int):\n        return [x * by for x in xs]\n": "PASSED",
    "class Solution:\n    def scaled(self, xs, by):\n        return tuple(x * by for x in xs)\n": "PASSED",
    "def scaled(xs, by):\n    return [x * by for x in xs]\n": "PASSED",
    "class Solution:\n    def scaled(self, xs, by):\n        return [x + by for x in xs]\n": "WRONG_ANSWER",
    "class Solution:\n    def scaled(self, xs, by):\n        return (x * by for x in xs)\n": "WRONG_ANSWER",
    "class Solution:\n    def other(self, xs, by):\n        return []\n": "RAISED",
}


@pytest.mark.slow
def test_a_method_or_function_is_called_and_tuples_equal_lists(tmp_path: Path) -> None:
    (task,) = load("livecodebench", written(tmp_path, METHOD)).tasks

    async def outcomes(task: Task) -> list[Outcome]:
        async with Judge([task], 2, 10.0, 4096) as judge:
            jobs = [Completion(f"0/9999/{k}/0", code, "completion") for k, code in enumerate(METHODS)]
            return [(await judge.judge(job)).outcome for job in jobs]

    assert asyncio.run(outcomes(task)) == list(METHODS.values())


def test_tests_are_read_as_json_or_packed() -> None:
    wanted = [TestRow("1 2\n", "3", "stdin")]
    assert unpacked(json.dumps(PUBLIC)) == unpacked(packed(PUBLIC)) == wanted
    assert unpacked("[]") == []


class Hostile:
    """Runs a program when it is unpickled naively."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("exit 1",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (packed(Hostile()), f"its pickle names {os.system.__module__}.system"),
        (packed(b"[]"), "its pickle holds a bytes, not a text"),
        (packed("{}"), "not JSON of tests: Expected `array`, got `object`"),
        ("no!", "not compressed base64: "),
        (base64.b64encode(zlib.compress(b"x")).decode(), "not a pickle: "),
        (base64.b64encode(zlib.compress(b"x" * 99)[:9]).decode(), "cut off, or more than 1,073,741,824 bytes"),
        ('[{"input": 1}]', "not JSON of tests: Expected `str`, got `int` - at `$[0].input`"),
    ],
)
def test_a_text_that_holds_no_tests_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnreadableTests, match=f"^{re.escape(reason)}"):
        unpacked(text)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"private_test_cases": packed(Hostile())},
            f"its tests cannot be read (its pickle names {os.system.__module__}.system); download the file again",
        ),
        ({"public_test_cases": "[]", "private_test_cases": "[]"}, "it has no test; download the file again"),
        ({"metadata": '{"func_name": "a b"}'}, "func_name is 'a b', which is not a name; download the file again"),
    ],
)
def test_a_defective_row_is_refused_in_one_line(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    path = written(tmp_path, METHOD, STDIN | changed)
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}: task 2 (abc999_a): {said}')}$"):
        load("livecodebench", path)


def test_dates_select_tasks_and_stand_with_the_data(tmp_path: Path) -> None:
    path = written(tmp_path, STDIN, METHOD)
    everything = load("livecodebench", path)
    assert (everything.total, everything.facts()["released"]) == (2, "2024-08..2025-01")
    config = RunConfig(benchmark="livecodebench", benchmark_file=path, released="2025-01..2025-04")
    found = chosen(config)
    assert [task.task_id for task in found.tasks] == ["9999"]
    assert (found.facts()["tasks_in_all"], found.facts()["released"]) == (1, "2025-01..2025-04")


def test_wrong_dates_are_refused_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, STDIN)
    with pytest.raises(ConfigError, match=r"^released: livecodebench has no task from 2020-01\.\.2020-02; "
                                          r"choose other dates, or a newer release$"):  # fmt: skip
        load("livecodebench", path, "2020-01..2020-02")
    with pytest.raises(ConfigError, match=r"^released: the tasks of humaneval have no dates; remove it, "
                                          r"or set benchmark: livecodebench$"):  # fmt: skip
        load("humaneval", None, "2020-01..2020-02")
    with pytest.raises(ValueError, match=r"Value error, its end lies before its start; swap them"):
        RunConfig(released="2025-01..2024-01")


def test_each_release_contains_the_earlier_files() -> None:
    def files(name: str) -> tuple[str, ...]:
        return (REGISTRY[name].file, *REGISTRY[name].more_files)

    assert files("livecodebench_v1") == ("test.jsonl",)
    assert files("livecodebench_v3") == ("test.jsonl", "test2.jsonl", "test3.jsonl")
    assert files("livecodebench") == files("livecodebench_v6")
    assert files("livecodebench_v6")[-1] == "test6.jsonl"


def in_published_form(row: dict[str, Any]) -> dict[str, Any]:
    """Convert a row whose tests are one packed JSON object, as in bytedance/SandboxFusion."""
    whole = unpickled(row["test"])
    assert isinstance(whole, dict)
    tests = json.loads(whole["input_output"])
    cases = [
        {"input": given, "output": wanted, "testtype": ""}
        for given, wanted in zip(tests["inputs"], tests["outputs"], strict=True)
    ]
    return {
        "question_id": json.loads(row["labels"])["task_id"],
        "question_content": row["content"],
        "contest_date": "2023-08-21T00:00:00",
        "starter_code": "",
        "public_test_cases": json.dumps(cases[:1]),
        "private_test_cases": packed(cases[1:]),
        "metadata": json.dumps({"func_name": tests.get("fn_name")}),
    }


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published files are not beside this checkout")
def test_published_tests_become_cases_or_calls(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in PUBLISHED.read_text().splitlines()]
    stdin, called, other = load("livecodebench", written(tmp_path, *map(in_published_form, rows))).tasks
    assert called.entry_point == "countSeniors"
    assert called.suite.text.count("\n    (") > 5
    assert all(task.executed is not None and len(task.executed.cases) > 3 for task in (stdin, other))


@pytest.mark.slow
def test_no_score_stands_without_its_dates(tmp_path: Path) -> None:
    path, replies, folder = written(tmp_path, METHOD, STDIN), tmp_path / "replies.jsonl", tmp_path / "run"
    replies.write_text(json.dumps({"task_id": "9999", "completion": next(iter(METHODS))}))
    code, out, err = swarmeval(
        "score", str(replies), "--benchmark", "livecodebench", "--output_dir", str(folder),
        "--set", f"benchmark_file={path}", "released=2025-01..2025-04", "eval_timeout_scale=1",
    )  # fmt: skip
    assert code == 0, err
    assert "1 of 1 answers passed, 1 task of 2025-01..2025-04" in " ".join(out.split())
    assert json.loads((folder / "score.json").read_text())["released"] == "2025-01..2025-04"
    assert json.loads((folder / "manifest.json").read_text())["data"]["released"] == "2025-01..2025-04"
    assert "on livecodebench, tasks of 2025-01..2025-04" in (folder / "report.html").read_text()
