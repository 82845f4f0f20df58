"""Benchmarks: rows in the published formats become tasks, whatever the file type, and reference solutions pass."""

import ast
import asyncio
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from human_eval_runner import Judge
from swarmeval.errors import ConfigError, DataError
from swarmeval.records import Completion, Outcome, Task, Verdict
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.sandbox.calibration import References
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import REGISTRY, chosen, load
from tests.support.checkout import ROOT

PUBLISHED = ROOT.parent / "shared" / "data"  # the published files, if present

PLAIN = {
    "task_id": "Own/0",
    "prompt": "def double(x):\n",
    "entry_point": "double",
    "test": "def check(candidate):\n    assert candidate(2) == 4",
    "canonical_solution": "    return 2 * x\n",
}
ASSERTS = {**PLAIN, "task_id": "Own/1", "test": "assert double(3) == 6"}
# The tests of evalplus/humanevalplus and evalplus/mbppplus look like this.
ASSERTION = """import numpy as np

def is_floats(x) -> bool:
    return isinstance(x, float) or isinstance(x, (list, tuple)) and all(isinstance(i, float) for i in x)

def assertion(out, exp, atol):
    exact_match = out == exp
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not exact_match and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert exact_match
"""
LOOP = """
{indent}inputs = [[1], [2], [-3]]
{indent}results = [2, 4, -6]
{indent}for i, (inp, exp) in enumerate(zip(inputs, results)):
{indent}    assertion({name}(*inp), exp, 0)
"""
PLUS = {
    **PLAIN,
    "task_id": "HumanEval/0",
    "test": ASSERTION + "\ndef check(candidate):" + LOOP.format(indent="    ", name="candidate"),
}
MBPP = {
    "task_id": 11,
    "text": "Write a function to double a number.",
    "code": "import math\r\ndef double(x):\r\n  return 2 * x",
    "test_list": ["assert math.isclose(double(2), 4)", "assert double(0) == 0"],
    "test_setup_code": "",
    "challenge_test_list": [],
}
PAIRED = {  # as in MBPP/601, the tests build objects of a class that the solution defines
    **MBPP,
    "task_id": 12,
    "code": "class Pair:\n  def __init__(self, a, b):\n    self.c = a + b\ndef total(pair):\n  return pair.c",
    "test_list": ["assert total(Pair(1, 2)) == 3"],
}
MBPP_PLUS = {
    "task_id": 2,
    "prompt": "Write a function to double a number.",
    "code": "def double(x):\n  return 2 * x",
    "source_file": "Benchmark.ipynb",
    "test_imports": [],
    "test_list": ["assert double(2) == 4"],
    "test": ASSERTION + LOOP.format(indent="", name="double"),
}
PRO = {
    "id": 0,
    "raw_problem": "# Double a number.\ndef double(x):\n",
    "raw_solution": "    return 2 * x\n",
    "new_problem": "# Double every number of a list.\nimport math\ndef double_all(xs):\n",
    "new_solution": "    return [double(x) for x in xs]\n",
    "test_code": "\nassert double_all([1, 2]) == [2, 4]\nassert math.isclose(double_all([1])[0], 2)",
}


def written(folder: Path, *rows: dict[str, Any], name: str = "tasks.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def tried(*tasks: Task) -> References:
    async def session() -> References:
        async with Judge(tasks, 2, 10.0, 4096) as judge:
            return await judge.try_references()

    return asyncio.run(session())


def judged(task: Task, text: str, form: str = "reply", references: bool = False) -> Verdict:
    async def session() -> Verdict:
        async with Judge([task], 1, 10.0, 4096) as judge:
            if references:
                await judge.try_references()
            return await judge.judge(Completion(f"0/{task.task_id}/0/0", text, form))  # type: ignore[arg-type]

    return asyncio.run(session())


def test_a_file_of_tasks_is_read_in_every_form_that_it_may_have(tmp_path: Path) -> None:
    lines = Path(written(tmp_path, PLAIN, ASSERTS))
    (tmp_path / "list.json").write_text(json.dumps([PLAIN, ASSERTS]))
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(lines.read_bytes()))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([PLAIN, ASSERTS]), tmp_path / "table.parquet")
    wanted = load("custom", str(lines)).tasks
    assert [task.task_id for task in wanted] == ["Own/0", "Own/1"]
    for name in ("list.json", "packed.jsonl.gz", "table.parquet"):
        assert load("custom", str(tmp_path / name)).tasks == wanted


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "contains no tasks; docs/adding-a-benchmark.md has the format"),
        (b"[]", "contains no tasks; docs/adding-a-benchmark.md has the format"),
        (b"{\n", ", line 1: not JSON"),
        (b"[1]", "task 1 is not a JSON object; see docs/adding-a-benchmark.md"),
        (b"\x1f\x8bno", "cannot be decompressed"),
        (b"PAR1no", "not a readable Parquet file"),
        (
            b'{"task_id": "A"}',
            "task 1: Object missing required field `prompt`; docs/adding-a-benchmark.md has the formats",
        ),
        (
            b'{"task_id": 3}',
            "task 1: Expected `str`, got `int` - at `$.task_id`; docs/adding-a-benchmark.md has the formats",
        ),
        (b"\n".join([json.dumps(PLAIN).encode()] * 2), "task_id 'Own/0' is listed twice; names must differ"),
    ],
)
def test_a_file_that_holds_no_tasks_is_refused_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "tasks"
    path.write_bytes(content)
    with pytest.raises(DataError, match="^" + re.escape(str(path))) as caught:
        load("custom", str(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_benchmark_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^benchmark is 'mpbb'; did you mean 'mbpp'\?$"):
        load("mpbb")
    with pytest.raises(
        ConfigError, match=r"^benchmark: custom needs benchmark_file; set it to a file of tasks in HumanEval's format$"
    ):
        load("custom")
    missing = tmp_path / "none.jsonl"
    with pytest.raises(
        DataError, match=rf"^{missing}: cannot be read \(No such file or directory\); see benchmark_file$"
    ):
        load("mbpp", str(missing))
    own = written(tmp_path, PLAIN)
    with pytest.raises(DataError, match=r": not the published HumanEval; for your own tasks set benchmark: custom$"):
        load("humaneval", own)


def test_a_limit_that_nobody_set_limits_humaneval_only(tmp_path: Path) -> None:
    rows = [{**PLAIN, "task_id": f"Own/{number}"} for number in range(200)]
    config = {"benchmark": "custom", "benchmark_file": written(tmp_path, *rows)}
    found = chosen(RunConfig.model_validate(config))
    assert len(found.tasks) == 200
    assert found.facts() | {"sha256": ""} == {
        "benchmark": "custom", "sha256": "", "revision": None, "tasks": 200, "tasks_in_all": 200,
    }  # fmt: skip
    some = chosen(RunConfig.model_validate({**config, "humaneval_limit": 20, "task_ids": ("Own/1?",)}))
    assert (len(some.tasks), some.total) == (10, 200)
    assert len(chosen(RunConfig()).tasks) == 164


def test_mbpp_is_its_test_split_with_a_docstring_and_the_tested_name(tmp_path: Path) -> None:
    others = [{**MBPP, "task_id": number} for number in (10, 511)]
    (task,) = load("mbpp", written(tmp_path, MBPP, *others)).tasks
    assert (task.task_id, task.entry_point) == ("MBPP/11", "double")
    assert task.prompt == '"""\nWrite a function to double a number.\nassert math.isclose(double(2), 4)\n"""\n'
    assert "assert math.isclose(double(2), 4)" in task.question
    assert "double(0)" not in task.question  # the other tests stay hidden


@pytest.mark.parametrize(
    "text",
    [
        "A \\N token, e.g. \\x.", "\\u12 and \\U00", "C:\\new\\Users",
        'Say """a""".', '""', 'It is """', '""" + """ + """',
        "\0 and \\",
        'Four """" \\""" quotes',
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "test",
    ["assert double(2) == 4", 'assert double(2) == 4 and """a""" == \'a\'', "assert double(1) != '\\N{DIGIT ONE}'"],
)
def test_any_text_makes_a_valid_docstring(tmp_path: Path, text: str, test: str) -> None:
    (task,) = load("mbpp", written(tmp_path, {**MBPP, "text": text, "test_list": [test]})).tasks
    (statement,) = ast.parse(task.prompt + task.reference).body[:1]
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Constant)
    asis = f'"""\n{text}\n{test}\n"""\n'
    assert task.prompt == asis or statement.value.value == f"\n{text}\n{test}\n"
    assert text in task.question


@pytest.mark.parametrize("tests", [[], [""], [" \n", ""]])
def test_a_task_without_tests_is_refused_in_one_line(tmp_path: Path, tests: list[str]) -> None:
    outside = {**MBPP, "task_id": 3, "test_list": []}  # outside the ids that the benchmark uses
    path = written(tmp_path, outside, {**MBPP, "test_list": tests})
    said = rf"^{re.escape(path)}: task 2: test_list has no test; give at least one assertion$"
    with pytest.raises(DataError, match=said):
        load("mbpp", path)


def test_a_self_invoking_task_asks_for_both_functions(tmp_path: Path) -> None:
    (task,) = load("humaneval_pro", written(tmp_path, PRO)).tasks
    assert (task.task_id, task.entry_point) == ("HumanEvalPro/0", "double_all")
    assert task.base is None  # HumanEval/0 has a different function
    plan = Plan(make_agents(RunConfig()), [task])
    chat = make_request(plan, 0, "chat", RunConfig()).messages
    assert chat is not None
    assert chat[0].content.endswith("single or multiple calls to the first solution.\n```python\n# Double a number.\n"
        "def double(x):\n# Double every number of a list.\nimport math\ndef double_all(xs):\n```")  # fmt: skip
    text = make_request(plan, 0, "completion", RunConfig()).text
    assert text is not None
    assert text.endswith("@@ Response\n```python\n# Double a number.\ndef double(x):")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "row"),
    [("custom", PLAIN), ("custom", ASSERTS), ("humaneval_plus", PLUS), ("mbpp", MBPP), ("mbpp_plus", MBPP_PLUS),
     ("mbpp_pro", PRO), ("evoeval_difficult", PLUS)],
)  # fmt: skip
def test_own_solutions_pass_and_wrong_ones_do_not(tmp_path: Path, name: str, row: dict[str, Any]) -> None:
    (task,) = load(name, written(tmp_path, row)).tasks
    assert tried(task) == References({}, {}, ())
    whole = task.prompt + task.reference
    for text in (f"Sure.\n```python\n{whole}\n```", task.reference):
        assert judged(task, text).outcome is Outcome.PASSED, text
    wrong = f"```python\n{whole.replace('2 * x', '3 * x')}\n```"
    assert judged(task, wrong).outcome is Outcome.WRONG_ANSWER


@pytest.mark.slow
def test_tests_that_need_more_than_plain_data_pass_only_beside_the_program(tmp_path: Path) -> None:
    (task,) = load("mbpp", written(tmp_path, PAIRED)).tasks
    assert tried(task) == References({}, {}, ("MBPP/12",))
    assert judged(task, task.reference, "completion").outcome is Outcome.RAISED  # its tests build the solution's class
    verdict = judged(task, task.reference, "completion", references=True)
    assert (verdict.outcome, verdict.unconfirmed) == (Outcome.PASSED, True)


@pytest.mark.slow
def test_a_defect_of_the_data_is_found_by_its_own_solution(tmp_path: Path) -> None:
    (task,) = load("custom", written(tmp_path, {**PLAIN, "canonical_solution": "    return x\n"})).tasks
    assert tried(task).failed == {
        "Own/0": "WRONG_ANSWER: AssertionError (line 5: assert candidate(2) == 4); candidate(2) gives 2"
    }


@pytest.mark.slow
def test_a_reply_to_a_self_invoking_task_is_judged_on_the_base_problem_too(tmp_path: Path) -> None:
    base = {**MBPP, "task_id": 1}
    written(tmp_path, base, name="mbpp.jsonl")
    (task,) = load("mbpp_pro", written(tmp_path, PRO)).tasks
    assert task.base is not None
    right = f"```python\n{PRO['raw_problem']}{PRO['raw_solution']}\n{PRO['new_problem']}{PRO['new_solution']}```"
    found = judged(task, right)
    assert (found.outcome, found.base) == (Outcome.PASSED, Outcome.PASSED)
    found = judged(task, right.replace("for x in xs", "for x in xs[1:]"))
    assert (found.outcome, found.base) == (Outcome.WRONG_ANSWER, Outcome.PASSED)
    assert judged(task, "I cannot.").base is Outcome.EMPTY


DEFECTS = {"HumanEvalPro/41"}  # base problems whose published solution fails HumanEval's tests


@pytest.mark.slow
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published files are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "file", "unconfirmed"),
    [
        ("mbpp", "mbpp.jsonl", ("MBPP/367",)),
        ("humaneval_pro", "humaneval_pro.json", ()),
        ("mbpp_pro", "mbpp_pro.json", ()),
    ],
)
def test_every_published_solution_passes(name: str, file: str, unconfirmed: tuple[str, ...]) -> None:
    tasks = load(name, str(PUBLISHED / file)).tasks
    found = tried(*tasks)
    assert (found.failed, found.unconfirmed) == ({}, unconfirmed)
    assert all(task.entry_point and task.reference for task in tasks)
    if name == "humaneval_pro":
        assert set(found.bases_failed) == DEFECTS


def test_every_benchmark_is_in_the_manual() -> None:
    manual = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    assert [name for name in REGISTRY if f"`{name}`" not in manual] == []
