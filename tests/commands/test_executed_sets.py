"""`score` on small sets of each kind of executed task and prediction, as users call it."""

import base64
import json
import os
import pickle
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from swarmeval.tasks.livecodebench import IMPORTS
from tests.support.command_line import agent_results, swarmeval
from tests.support.pages import visible_text

pytestmark = pytest.mark.slow

Row = dict[str, Any]
CASES = [{"stdin": "1 2\n", "expected": "3\n"}, {"stdin": "-5 5\n", "expected": "0\n"}]
PROGRAMS = {  # of each language: adds two numbers
    "python": "import sys\nprint(sum(map(int, sys.stdin.read().split())))",
    "bash": "read -r a b\necho $((a + b))",
    "cpp": "#include <iostream>\nint main() {\n  int a, b;\n  std::cin >> a >> b;\n  std::cout << a + b;\n}",
}
SAMPLE_ONLY = {
    "python": "print(3)",
    "bash": "echo 3",
    "cpp": "#include <iostream>\nint main() { std::cout << 3; }",
}
LANGUAGES = [name for name in PROGRAMS if name != "cpp" or shutil.which("g++")]


def lines(path: Path, rows: Sequence[Row]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def judged(folder: Path, benchmark: str, rows: Sequence[Row], replies: Sequence[tuple[str, str]], *more: str) -> str:
    """Score (task id, reply) pairs; return what the command prints."""
    answers = [{"task_id": task_id, "reply": reply} for task_id, reply in replies]
    words = [lines(folder / "replies.jsonl", answers), "--benchmark", benchmark, "--output_dir", str(folder / "out")]
    setting = f"benchmark_file={lines(folder / 'rows.jsonl', rows)}"
    code, out, err = swarmeval("score", *words, *more, "--set", setting, "eval_timeout_scale=1.0")
    assert code == 0, err
    return " ".join(out.split())


def outcomes(folder: Path) -> list[str]:
    return [row["outcome"] for row in agent_results(folder / "out", 0)]


def fenced(code: str, tag: str = "python") -> str:
    return f"This should work:\n```{tag}\n{code}\n```\nIt reads its input once."


def test_programs_of_each_language_are_told_right_from_wrong(tmp_path: Path) -> None:
    rows = [
        {"task_id": f"Own/{name}", "language": name, "question": "Add two numbers.", "cases": CASES}
        for name in LANGUAGES
    ]
    replies = [
        (f"Own/{name}", reply)
        for name in LANGUAGES
        for reply in (fenced(PROGRAMS[name], name), fenced(SAMPLE_ONLY[name], name), "I cannot.")
    ]
    judged(tmp_path, "custom", rows, replies)
    assert outcomes(tmp_path) == ["PASSED", "WRONG_ANSWER", "EMPTY"] * len(LANGUAGES)
    assert agent_results(tmp_path / "out", 0)[1]["detail"] == "case 2 of 2: line 1: expected '0', found '3'"


def test_tests_beside_a_program_are_marked_unconfirmed_everywhere(tmp_path: Path) -> None:
    row = {
        "task_id": "Own/double", "language": "bash", "prompt": "# Print twice the first argument.\ndouble() {\n",
        "entry_point": "double", "tests": '[ "$(double 3)" = 6 ] || exit 1\n',
    }  # fmt: skip
    replies = [("Own/double", fenced(f"double() {{\n  echo $(($1 {how}))\n}}", "bash")) for how in ("* 2", "+ 1")]
    replies.append(("Own/double", fenced("double() {\n  exit 0\n}\nexit 0", "bash")))
    told = judged(tmp_path, "custom", [row], replies)
    assert [outcome == "PASSED" for outcome in outcomes(tmp_path)] == [True, False, False]
    assert "caution 3 verdicts: the tests ran in the program's own process, which can deceive them" in told
    page = visible_text((tmp_path / "out" / "report.html").read_text())
    assert "3 verdicts are unconfirmed: the tests ran in the program's own process, which can deceive them." in page


@pytest.mark.skipif(os.getuid() != 0, reason="only root lacks layers in this mode")
def test_a_run_records_what_its_executed_programs_could_do(tmp_path: Path) -> None:
    row = {"task_id": "Own/0", "language": "bash", "question": "Print 1.", "cases": [{"expected": "1"}]}
    judged(tmp_path, "custom", [row], [("Own/0", fenced("echo 1", "bash"))], "--set", "sandbox.mode=none")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["sandbox_not_held"] == ["read as root", "processes beyond its limit"]


CRUX = {"id": "sample_0", "code": "def f(n):\n    return n + 1", "input": "16", "output": "17"}


@pytest.mark.parametrize(
    ("benchmark", "replies", "wanted"),
    [
        (
            "cruxeval_o",
            ["[ANSWER]\nassert f(16) == 17\n[/ANSWER]", "It adds one.\n\n17", "assert f(16) == 18", "f(16)"],
            ["PASSED", "PASSED", "WRONG_ANSWER", "BAD_SYNTAX"],
        ),
        (
            "cruxeval_i",
            ["[ANSWER]assert f(16) == 17[/ANSWER]", "```python\nf(15 + 1)\n```", "f(17)", "[ANSWER]17[/ANSWER]"],
            ["PASSED", "PASSED", "WRONG_ANSWER", "BAD_SYNTAX"],
        ),
    ],
)
def test_predictions_pass_unless_they_repeat_what_is_given(
    tmp_path: Path, benchmark: str, replies: list[str], wanted: list[str]
) -> None:
    judged(tmp_path, benchmark, [CRUX], [("sample_0", reply) for reply in replies])
    assert outcomes(tmp_path) == wanted


def problem(name: str, date: str, tests: list[Row], starter: str = "", method: str = "") -> Row:
    """A row as LiveCodeBench publishes it; its private tests are compressed."""
    return {
        "question_id": name, "question_content": "Double it.", "contest_date": f"{date}T00:00:00",
        "starter_code": starter, "public_test_cases": json.dumps(tests[:1]),
        "private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests[1:])))).decode(),
        "metadata": json.dumps({"func_name": method} if method else {}),
    }  # fmt: skip


STDIN = problem(
    "abc_a", "2024-08-03", [{"input": f"{n}\n", "output": f"{2 * n}\n", "testtype": "stdin"} for n in (3, -4)]
)
METHOD = problem(
    "2000", "2024-09-01", [{"input": f"[{n}]", "output": f"[{2 * n}]", "testtype": "functional"} for n in (3, -4)],
    "class Solution:\n    def doubled(self, xs: List[int]) -> List[int]:\n        ", "doubled",
)  # fmt: skip
READS = (
    "def double(words: List[str]) -> int:\n    return math.trunc(float(words[0])) * 2\n\nprint(double(input().split()))"
)
DOUBLED = "class Solution:\n    def doubled(self, xs: List[int]) -> List[int]:\n        return [2 * x for x in xs]"


def test_answers_to_livecodebench_run_below_its_imports(tmp_path: Path) -> None:
    thoughts = f"<think>\n{fenced('print(6)')}\n</think>\n{fenced(READS)}"
    sample_last = f"{fenced(READS)}\nFor 3 it prints\n```\n6\n```"
    replies = [("abc_a", reply) for reply in (thoughts, sample_last, fenced("print(6)"))]
    replies += [("2000", fenced(DOUBLED)), ("2000", fenced(DOUBLED.replace("2 *", "3 *")))]
    told = judged(tmp_path, "livecodebench_v1", [STDIN, METHOD], replies, "--extractors", "all")
    assert outcomes(tmp_path) == ["PASSED", "PASSED", "WRONG_ANSWER", "PASSED", "WRONG_ANSWER"]
    assert agent_results(tmp_path / "out", 0)[0]["completion"].strip() == f"{IMPORTS}\n{READS}"
    assert "2 tasks of 2024-08..2024-09" in told
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["data"]["licence"] == "CC"
    assert told.endswith("livecodebench 41.7 % 2 loses 1: abc_a")  # its own rule takes the last block


def test_a_reply_from_outside_the_dates_is_named_with_them(tmp_path: Path) -> None:
    words = [lines(tmp_path / "replies.jsonl", [{"task_id": "abc_a", "reply": fenced(READS)}])]
    words += [
        "--benchmark",
        "livecodebench",
        "--output_dir",
        str(tmp_path / "out"),
        "--set",
        "released=2024-09..2024-12",
    ]
    told = f"{words[0]}, line 1: task_id 'abc_a' is not among the tasks released in 2024-09..2024-12; remove its line"
    found = swarmeval("score", *words, f"benchmark_file={lines(tmp_path / 'rows.jsonl', [STDIN, METHOD])}")
    assert found == (2, "", f"swarmeval: {told}\n")
    words[-1] = "released=2024-08..2024-12"
    found = swarmeval("score", *words, f"benchmark_file={tmp_path / 'rows.jsonl'}", "task_ids=['200?']")
    told = told.replace("the tasks released in 2024-09", "the 1 selected tasks released in 2024-08")
    assert found == (2, "", f"swarmeval: {told}\n")


@pytest.mark.parametrize("command", ["score", "run"])
def test_a_missing_toolchain_is_refused_before_anything_is_created(tmp_path: Path, command: str) -> None:
    row = {"task_id": "Own/0", "language": "lua", "question": "Print 1.", "cases": [{"expected": "1"}]}
    words = ["score", lines(tmp_path / "replies.jsonl", [{"task_id": "Own/0", "reply": "print(1)"}])]
    words = words if command == "score" else ["--config", "config/smoke.yaml"]
    words += ["--benchmark", "custom", "--output_dir", str(tmp_path / "out"), "--set"]
    words += [] if command == "score" else ["engine=scripted", "task_ids=null"]
    (tmp_path / "bin").mkdir()
    code, out, err = swarmeval(
        *words, f"benchmark_file={lines(tmp_path / 'rows.jsonl', [row])}", env={"PATH": f"{tmp_path}{os.sep}bin"}
    )
    assert (code, out, err) == (2, "", "swarmeval: lua: 'lua' is not installed; run: apt install lua5.4\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("benchmark", "row", "rule", "told"),
    [
        ("cruxeval_o", CRUX, "all", "the prompts of cruxeval_o are questions"),
        (
            "livecodebench",
            STDIN,
            "lm-eval,livecodebench",
            "the prompts of livecodebench are questions; use livecodebench",
        ),
    ],
)
def test_rules_that_do_not_suit_a_benchmark_are_refused(
    tmp_path: Path, benchmark: str, row: Row, rule: str, told: str
) -> None:
    words = [lines(tmp_path / "replies.jsonl", [{"task_id": row.get("id", "abc_a"), "reply": "1"}])]
    words += ["--benchmark", benchmark, "--output_dir", str(tmp_path / "out"), "--extractors", rule, "--set"]
    found = swarmeval("score", *words, f"benchmark_file={lines(tmp_path / 'rows.jsonl', [row])}")
    assert found == (2, "", f"swarmeval: --extractors: the rules complete code; {told}\n")
