"""BigCodeBench: published prompts, programs that start with the signature, and suites that decide every verdict."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from human_eval_runner import Judge, prepared_toolchains
from swarmeval.errors import ConfigError, DataError
from swarmeval.executed import Executed
from swarmeval.records import Completion, Form, Task, Verdict
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.sandbox.calibration import References
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import REGISTRY, chosen, load
from tests.support.bigcodebench_rows import BODY, DOWNLOADS, ROW, SAMPLE, SIGNATURE, TESTS, sample_rows, written
from tests.support.command_line import swarmeval

ASKED = "Please provide a self-contained Python script that solves the following problem in a markdown code block:\n"
WHOLE = f"{SIGNATURE}{BODY}"


def task_of(folder: Path, split: str = "complete", **changed: Any) -> Task:
    (task,) = load(f"bigcodebench_{split}", written(folder, ROW | changed)).tasks
    return task


def verdicts(task: Task, *texts: str, form: Form = "completion") -> list[tuple[str, str]]:
    """The outcome and detail of each answer; checks that they are marked as unconfirmed."""
    answers = judged(task, *(Completion(f"0/{task.task_id}/{k}/0", text, form) for k, text in enumerate(texts)))
    assert all(answer.unconfirmed for answer in answers if answer.executed)
    return [(answer.outcome.value, answer.detail) for answer in answers]


def judged(task: Task, *completions: Completion) -> list[Verdict]:
    async def all_of_them() -> list[Verdict]:
        toolchains = prepared_toolchains([task], sys.executable)
        async with Judge([task], 2, 10.0, 2048, toolchains=toolchains) as judge:
            return await asyncio.gather(*map(judge.judge, completions))

    return asyncio.run(all_of_them())


def tried(tasks: tuple[Task, ...]) -> References:
    async def references() -> References:
        async with Judge(tasks, 2, 10.0, 2048, toolchains=prepared_toolchains(tasks, sys.executable)) as judge:
            return await judge.try_references()

    return asyncio.run(references())


def test_complete_asks_for_the_body_below_the_docstring(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    plan, config = Plan(make_agents(RunConfig()), [task]), RunConfig()
    chat, raw = (make_request(plan, 0, mode, config) for mode in ("chat", "completion"))
    prompt = str(ROW["complete_prompt"])
    assert chat.messages[0].content == f"{ASKED}```\n{prompt.strip()}\n```\n"
    assert raw.text == prompt.rstrip()
    assert {"\ndef ", "\nimport ", "\nassert ", "</s>"} < set(raw.sampling.stop)
    assert (task.task_id, task.prompt, task.entry_point) == (ROW["task_id"], prompt, "task_func")


def test_instruct_asks_in_words_and_gives_only_the_signature(tmp_path: Path) -> None:
    task = task_of(tmp_path, "instruct", code_prompt=SIGNATURE.rstrip())
    plan, config = Plan(make_agents(RunConfig()), [task]), RunConfig()
    chat, raw = (make_request(plan, 0, mode, config) for mode in ("chat", "completion"))
    question = f"{ASKED}{str(ROW['instruct_prompt']).strip()}\n"
    assert chat.messages[0].content == question
    assert raw.text == f"{question}\n```python\n{SIGNATURE.rstrip()}"
    assert "\n```" in raw.sampling.stop
    assert task.prompt == SIGNATURE


def test_a_task_is_executed_with_the_published_time_limit(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    assert task.executed == Executed("python", timeout_s=240.0)
    assert task.reference == f"{ROW['complete_prompt']}\n{BODY}"


def test_four_benchmarks_come_from_two_published_files() -> None:
    found = {name: (entry.repo, entry.file) for name, entry in REGISTRY.items() if name.startswith("bigcodebench")}
    file = "data/v0.1.4-00000-of-00001.parquet"
    assert found == {
        "bigcodebench_complete": ("bigcode/bigcodebench", file),
        "bigcodebench_instruct": ("bigcode/bigcodebench", file),
        "bigcodebench_hard_complete": ("bigcode/bigcodebench-hard", file),
        "bigcodebench_hard_instruct": ("bigcode/bigcodebench-hard", file),
    }


def test_a_row_without_test_cases_is_refused(tmp_path: Path) -> None:
    said = f"{tmp_path}/rows.jsonl: task 1: test has no class TestCases; download the file again"
    with pytest.raises(DataError, match=f"^{re.escape(said)}$"):
        task_of(tmp_path, test="def check(candidate): ...")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {},
            "bigcodebench_complete needs judge_python, a Python with the benchmark's packages (docs/bigcodebench.md)",
        ),
        (
            {"judge_python": "/nowhere/python"},
            "judge_python is '/nowhere/python', which does not exist; name a Python 3.8 or newer "
            "(docs/bigcodebench.md)",
        ),
        (
            {"judge_python": sys.executable, "benchmark": "humaneval", "benchmark_file": None},
            "judge_python: humaneval executes no Python programs; remove it",
        ),
    ],
)
def test_judge_python_is_set_where_it_is_needed(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    settings = {"benchmark": "bigcodebench_complete", "benchmark_file": written(tmp_path, ROW), **changed}
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        chosen(RunConfig(**settings))


ENDINGS = {
    BODY: ("PASSED", ""),
    "    return 3 if text else json.loads(text)\n": ("WRONG_ANSWER", "AssertionError: 3 != 4"),
    "    return None\n": ("WRONG_ANSWER", "AssertionError: KeyError not raised"),
    "    json.loads(text)\n    return missing\n": (
        "RAISED",
        "exit code 1: NameError: name 'missing' is not defined",
    ),
    "    raise ValueError('first\\nerror')\n": ("RAISED", "exit code 1: ValueError: first"),
    "    raise SystemExit(0)\n": ("RAISED", "exit code 1: SystemExit: 0"),
    f"{BODY}\nraise SystemExit(0)\n": ("RAISED", "it ended with exit code 0 before its tests had ended"),
    f"    import sys\n    sys.stdout = sys.stderr = None\n{BODY}": ("PASSED", ""),
    f"    print('AssertionError: of the program')\n    import absent_package\n{BODY}": (
        "RAISED",
        "exit code 1: ModuleNotFoundError: No module named 'absent_package'",
    ),
    "    return (\n": ("BAD_SYNTAX", "line 11: '(' was never closed: 'return ('"),
}


@pytest.mark.slow
def test_every_ending_of_a_suite_has_its_outcome(tmp_path: Path) -> None:
    assert verdicts(task_of(tmp_path), *ENDINGS) == list(ENDINGS.values())


@pytest.mark.slow
def test_an_answer_may_omit_the_imports_of_its_task(tmp_path: Path) -> None:
    bare = f"def task_func(text):\n{BODY}"
    replies = [
        f"Here it is:\n```python\n{bare}\nprint(task_func('{{}}'), absent)\n```\nIt sums the values.",
        f"```python\n{WHOLE}\nif __name__ == '__main__':\n    print(task_func(input()))\n```",
    ]
    for split in ("complete", "instruct"):
        task = task_of(tmp_path, split)
        assert verdicts(task, *replies, form="reply") == [("PASSED", "")] * 2
        assert verdicts(task, bare, form="solution") == [("PASSED", "")]


SURROUNDINGS = """\
import unittest
from unittest.mock import patch
class TestCases(unittest.TestCase):
    def test_the_folder_is_empty(self):
        self.assertEqual(os.listdir("."), [])
    def test_names_of_the_module(self):
        self.assertEqual(environ["TZ"], "UTC")
        self.assertIn(os.environ["OMP_NUM_THREADS"], "1")
        with patch("__test__.task_func", return_value=5):
            self.assertEqual(task_func(""), 5)
    def test_the_network_is_refused(self):
        import urllib.request
        with self.assertRaises(OSError):
            urllib.request.urlopen("http://127.0.0.1/")
"""


@pytest.mark.slow
def test_suites_find_the_surroundings_of_the_published_harness(tmp_path: Path) -> None:
    assert verdicts(task_of(tmp_path, test=SURROUNDINGS), BODY) == [("PASSED", "")]


@pytest.mark.slow
def test_a_suite_in_which_no_test_ran_does_not_pass(tmp_path: Path) -> None:
    empty = TESTS.replace("test_", "other_")
    assert verdicts(task_of(tmp_path, test=empty), BODY) == [("RAISED", "exit code 1: RuntimeError: no test ran")]


@pytest.mark.slow
def test_a_run_records_the_interpreter_and_its_packages(tmp_path: Path) -> None:
    replies, folder = tmp_path / "replies.jsonl", tmp_path / "run"
    replies.write_text(json.dumps({"task_id": ROW["task_id"], "completion": BODY}))
    code, out, err = swarmeval(
        "score", str(replies), "--benchmark", "bigcodebench_complete", "--output_dir", str(folder), "--set",
        f"benchmark_file={written(tmp_path, ROW)}", f"judge_python={sys.executable}", "eval_timeout_scale=1",
    )  # fmt: skip
    assert code == 0, err
    assert "1 of 1 answers passed" in " ".join(out.split())
    manifest = json.loads((folder / "manifest.json").read_text())
    version = ".".join(map(str, sys.version_info[:3]))
    assert manifest["toolchains"] == {"python": f"Python {version}"}
    assert (manifest["judge_python"]["path"], manifest["judge_python"]["version"]) == (sys.executable, version)
    assert "pydantic" in manifest["judge_python"]["packages"]
    assert manifest["references"]["failed"] == {}


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLE.is_file(), reason="the published files are not beside this checkout")
def test_published_solutions_that_need_no_network_pass(tmp_path: Path) -> None:
    rows = [row for row in sample_rows() if row["task_id"] != "BigCodeBench/0"]  # computes for a minute
    tasks = load("bigcodebench_complete", written(tmp_path, *rows)).tasks
    assert len(tasks) > 1
    assert set(tried(tasks).failed) == DOWNLOADS & {task.task_id for task in tasks}
