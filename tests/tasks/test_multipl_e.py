"""MultiPL-E: the published prompt, tests and stop tokens, in the language of the benchmark."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from swarmeval.errors import DataError
from swarmeval.executed import Executed
from swarmeval.records import Suite, Task
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import load
from swarmeval.tasks.languages import LANGUAGES as LANGUAGES_HERE
from swarmeval.tasks.multipl_e import LANGUAGES
from tests.support.checkout import ROOT

PUBLISHED = ROOT.parent / "shared" / "data" / "multipl_e"  # the published files, if present

ROW = {
    "name": "HumanEval_999_double_it",
    "language": "lua",
    "prompt": "-- Return twice x.\nlocal function double_it(x)\n",
    "doctests": "transform",
    "tests": "lu = require('luaunit')\n\nfunction test_humaneval()\nlocal candidate = double_it\n"
             "    lu.assertEquals(candidate(2), 4)\nend\n\nos.exit(lu.LuaUnit.run())",
    "stop_tokens": ["\nlocal", "\n--"],
}  # fmt: skip


def tasks(folder: Path, name: str, **changed: Any) -> tuple[Task, ...]:
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(ROW | changed) + "\n")
    return load(name, str(path)).tasks


def test_a_task_is_executed_with_its_tests_behind_it(tmp_path: Path) -> None:
    (task,) = tasks(tmp_path, "multipl_e_humaneval_lua")
    assert (task.task_id, task.prompt, task.stops) == (ROW["name"], ROW["prompt"], ("\nlocal", "\n--"))
    assert task.suite == Suite("double_it", str(ROW["tests"]))
    assert (task.executed, task.answer) == (Executed("lua"), "function")


def test_prompts_name_the_language_and_end_at_the_published_stops(tmp_path: Path) -> None:
    plan, config = Plan(make_agents(RunConfig()), tasks(tmp_path, "multipl_e_humaneval_lua")), RunConfig()
    chat, raw = (make_request(plan, 0, mode, config) for mode in ("chat", "completion"))
    assert chat.messages[0].content == (
        "Complete the following Lua function. Reply with the whole function, imports included, in one Lua code "
        "block.\n\n```lua\n-- Return twice x.\nlocal function double_it(x)\n```"
    )
    assert chat.sampling.stop == ()
    assert raw.text == "-- Return twice x.\nlocal function double_it(x)"
    assert raw.sampling.stop == ("\nlocal", "\n--")


@pytest.mark.parametrize(
    ("tests", "name"),
    [
        ("  let candidate = f1;\n", "f1"),
        ("    auto candidate = f1;\n", "f1"),
        ("  candidate := f1\n", "f1"),
        ("    my $candidate = \\&f1;\n", "f1"),
        ("    candidate <- f1\n", "f1"),
        ("    candidate = method(:f1)\n", "f1"),
        ("function candidate(...$args) {\n    return f1(...$args);\n}\n", "f1"),
        ('}\n\ncandidate() {\n    f1 "$@"\n}\n', "f1"),
        ("    assert(f1((5l)) == (6l));\n", "f1"),
        ("nothing known", "double_it"),
    ],
)
def test_the_entry_point_is_the_name_that_the_tests_use(tmp_path: Path, tests: str, name: str) -> None:
    (task,) = tasks(tmp_path, "multipl_e_mbpp_lua", tests=tests)
    assert task.entry_point == name


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tests": " "}, "task 1: tests is empty; download the file again"),
        (
            {"language": "js"},
            "task 1: language is 'js', but this benchmark is in 'lua'; choose the benchmark of that language",
        ),
        (
            {"prompt": 3},
            "task 1: Expected `str`, got `int` - at `$.prompt`; docs/adding-a-benchmark.md has the formats",
        ),
    ],
)
def test_a_wrong_row_is_refused_in_one_line(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(f'{tmp_path}/rows.jsonl: {said}')}$"):
        tasks(tmp_path, "multipl_e_humaneval_lua", **changed)


def test_every_language_has_a_name_for_prompts() -> None:
    assert set(LANGUAGES.values()) == set(LANGUAGES_HERE) - {"python"}


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published files are not beside this checkout")
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_published_row_names_a_function_of_its_prompt(language: str) -> None:
    found = load(f"multipl_e_humaneval_{language}", str(PUBLISHED / f"humaneval-{language}.jsonl")).tasks
    assert len(found) > 150
    assert [task.task_id for task in found if not re.search(rf"\b{task.entry_point}\b", task.prompt)] == []
