"""The scripts demo, check, test and .ci/run, and the two configs they run. (scripts/setup has its own tests.)"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from swarmeval.settings import loading
from tests.support.checkout import DOORS, ROOT, Checkout, executable


@pytest.fixture
def staged(tmp_path: Path) -> Checkout:
    """A checkout that is already set up: scripts/setup and .venv's Python only record how they were called."""
    checkout = Checkout(tmp_path)
    note = f'printf "%s\\n" "$*" >>"{checkout.root}/calls"\n'
    executable(checkout.root / "scripts/setup", f"#!/bin/sh\nset -- setup $*\n{note}")
    executable(checkout.root / ".venv/bin/python", f'#!/bin/sh\n{note}case "$*" in *"$FAILING"*) exit $CODE;; esac\n')
    checkout.env |= {"FAILING": "nothing fails", "CODE": "0"}
    return checkout


def calls(checkout: Checkout) -> Sequence[str]:
    return (checkout.root / "calls").read_text(encoding="utf-8").splitlines()


DEMO = ("config/demo_replies.jsonl --output_dir logs/demo --fresh --set task_ids=[HumanEval/0,HumanEval/1,HumanEval/4,"
        "HumanEval/7,HumanEval/22,HumanEval/23,HumanEval/28,HumanEval/30,HumanEval/35,HumanEval/42,HumanEval/48,"
        "HumanEval/53]")  # fmt: skip
FIRST = ["setup --score", f"main.py score {DEMO}", "setup"]


def test_demo_scores_before_torch_is_there_then_runs_and_shows_an_answer(staged: Checkout) -> None:
    run = staged.run("scripts/demo", "--num_tasks", "2")
    assert run.returncode == 0
    assert f"Open this report in a browser: {staged.root}/logs/demo/report.html\n" in run.stdout
    assert calls(staged) == [
        *FIRST,
        "main.py --config config/smoke.yaml --num_tasks 2",
        "-m scripts.show_example --num_tasks 2",
    ]


@pytest.mark.parametrize(("code", "shows"), [("1", True), ("2", False), ("130", False)])
def test_demo_ends_with_the_code_of_the_run(staged: Checkout, code: str, shows: bool) -> None:
    run = staged.run("scripts/demo", FAILING="main.py --config", CODE=code)
    assert run.returncode == int(code)
    assert ("-m scripts.show_example" in " ".join(calls(staged))) is shows


def test_demo_shows_no_answer_where_nothing_ran(staged: Checkout) -> None:
    staged.run("scripts/demo", "--help")
    assert calls(staged) == ["setup --score", "main.py --help"]


STEPS = [
    "-m ruff format --check .", "-m ruff check .", "-m mypy .", "-m scripts.manual --check",
    "-m scripts.faults --check", "-m scripts.phrases", "-m mkdocs build --strict",
    "-m pytest -q tests/house/test_layering.py",
]  # fmt: skip


def test_check_names_its_steps(staged: Checkout) -> None:
    run = staged.run("scripts/check")
    assert run.returncode == 0
    assert run.stdout.splitlines() == [step.replace("-m", "--", 1) for step in STEPS]
    assert calls(staged) == ["setup --dev", *STEPS]


def test_check_stops_at_the_first_failure(staged: Checkout) -> None:
    run = staged.run("scripts/check", FAILING="ruff check", CODE="3")
    assert run.returncode == 3
    assert run.stderr == "scripts/check: failed at: ruff check .\n"
    assert calls(staged) == ["setup --dev", *STEPS[:2]]


@pytest.mark.parametrize(("words", "done"), [([], "build"), (["serve"], "serve")])
def test_docs_builds_the_manual_or_serves_it(staged: Checkout, words: list[str], done: str) -> None:
    assert staged.run("scripts/docs", *words).returncode == 0
    assert calls(staged) == ["setup --dev", f"-m mkdocs {done} --strict"]


def test_docs_refuses_other_words(staged: Checkout) -> None:
    run = staged.run("scripts/docs", "deploy")
    assert (run.returncode, run.stderr) == (2, "scripts/docs: unknown argument 'deploy'; usage: scripts/docs [serve]\n")


@pytest.mark.parametrize(
    ("door", "arguments", "last"),
    [
        ("scripts/test", ["-x", "tests/scores/test_stats.py"], "-m pytest -m not slow -x tests/scores/test_stats.py"),
        ("scripts/test", ["--slow", "-x"], "-m pytest -m slow or not slow -x"),
        (".ci/run", [], "-m pytest -m slow or not slow --tb=native"),
    ],
)
def test_the_tests_run_after_the_checks(staged: Checkout, door: str, arguments: list[str], last: str) -> None:
    assert staged.run(door, *arguments).returncode == 0
    assert calls(staged) == ["setup --dev", *STEPS, last]
    assert staged.run(door, *arguments, FAILING="not slow", CODE="1").returncode == 1


def test_no_test_runs_on_code_that_fails_a_check(staged: Checkout) -> None:
    assert staged.run(".ci/run", FAILING="mypy", CODE="1").returncode == 1
    assert calls(staged) == ["setup --dev", *STEPS[:3]]


@pytest.mark.slow
def test_the_example_is_an_answer_that_passed_with_its_prompt_and_reply(tmp_path: Path) -> None:
    answers = [
        {"task_id": f"HumanEval/{k}", "sample": 0, "completion": f"    return {k}\n", "passed": k == 1,
         "outcome": "PASSED" if k == 1 else "WRONG_ANSWER", "reply": f"Here you are: {k}"} for k in range(3)
    ]  # fmt: skip
    (tmp_path / "agent_0_results.jsonl").write_text("".join(json.dumps(a) + "\n" for a in answers), encoding="utf-8")
    score = {"pass@1": 1 / 3, "evaluations": 3, "failures": 0}
    (tmp_path / "score.json").write_text(json.dumps(score), encoding="utf-8")
    (tmp_path / "report.html").touch()
    command = [sys.executable, "-m", "scripts.show_example", "--output_dir", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    for shown in (
        "One of the answers: HumanEval/1 by agent 0, sample 0",
        "    | def separate_paren_groups(paren_string: str) -> List[str]:",
        "    | Here you are: 1\n",
        "    |     return 1\n",
        "    | PASSED: ",
        f"The results are in {tmp_path}\n",
        "pass@1 33.3 % of 3 evaluations, 0 failures",
    ):
        assert shown in run.stdout
    last = run.stdout.splitlines()[-2:]
    assert last[0] == "The tasks were chosen to show passes and failures: their pass@1 is not a HumanEval score."
    assert last[1] == f"Open this report in a browser: {tmp_path.resolve()}/report.html"


REFERENCE = {
    "model_id": "meta-llama/Meta-Llama-3.1-8B-Instruct", "load_in_4bit": True, "device": "cuda",
    "use_data_parallelism": True, "num_agents": 50, "batch_size": 8, "max_new_tokens": 512, "temperature": 0.25,
    "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.1, "do_sample": True, "num_beams": 1, "benchmark": "humaneval",
    "humaneval_limit": 164, "eval_workers": 4, "eval_timeout": 10.0, "output_dir": "logs", "verbose": False,
}  # fmt: skip
SMOKE = {key: value for key, value in REFERENCE.items() if key != "humaneval_limit"} | {
    "model_id": "embedded", "device": "cpu", "num_agents": 2, "max_new_tokens": 256,
    "task_ids": [f"HumanEval/{number}" for number in (0, 1, 22, 23, 28, 35, 42, 53)],
    "repetition_penalty": 1.0, "eval_workers": 2, "output_dir": "logs/smoke",
}  # fmt: skip


@pytest.mark.parametrize(("name", "documented"), [("config", REFERENCE), ("smoke", SMOKE)])
def test_configs_hold_the_documented_settings(name: str, documented: dict[str, object]) -> None:
    path = ROOT / f"config/{name}.yaml"
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == documented
    settings = loading.load(path)
    assert json.loads(settings.model_dump_json(include=set(documented))) == documented
    assert settings.warnings() == []


@pytest.mark.parametrize("door", DOORS)
def test_doors_can_be_run_and_read(door: str) -> None:
    assert os.access(ROOT / door, os.X_OK)
    read = subprocess.run(["bash", "-n", ROOT / door], capture_output=True, text=True)
    assert (read.returncode, read.stderr) == (0, "")
