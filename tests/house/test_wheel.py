"""The installed project: its wheel in a separate environment, used from a folder outside the checkout."""

import json
import os
import resource
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from human_eval_runner import load_tasks
from swarmeval.location import MODULES
from swarmeval.version import VERSION
from tests.support.checkout import ROOT

pytestmark = pytest.mark.slow

HELP_LIMIT_S = 0.3  # CPU time, since wall-clock time depends on other load
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@dataclass(frozen=True, slots=True)
class Installed:
    """A wheel and the environment it is installed in."""

    wheel: Path
    bin: Path

    def run(self, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run one of the environment's commands in a folder."""
        command = [str(self.bin / words[0]), *words[1:]]
        environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, built and installed without network; dependencies come from the environment of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    build = ["wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([*PIP, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    others = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(others), encoding="utf-8")
    bin_folder = folder / "venv" / "bin"
    subprocess.run(
        [*PIP, "--python", str(bin_folder / "python"), "install", "--no-deps", "--no-index", str(wheel)], check=True
    )
    return Installed(wheel, bin_folder)


def test_the_wheel_holds_the_package_its_data_and_the_root_modules(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    paths = [path for path in (ROOT / "swarmeval").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert held == {str(path.relative_to(ROOT)) for path in paths} | {f"{module}.py" for module in MODULES}
    assert {path.stem for path in ROOT.glob("*.py")} == {*MODULES, "main"}


def test_the_installed_command_is_main_py_under_another_name(installed: Installed, tmp_path: Path) -> None:
    for words in (
        ["--version"],
        ["--help"],
        ["score", "--help"],
        ["scor"],
        ["--num_tasks", "x"],
        ["compare", "a", "b"],
    ):
        found = installed.run(tmp_path, "swarmeval", *words)
        here = subprocess.run(
            [sys.executable, str(ROOT / "main.py"), *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        out, err = (renamed(text) for text in (here.stdout, here.stderr))
        assert (found.returncode, *map(spaced, (found.stdout, found.stderr))) == (
            here.returncode,
            spaced(out),
            spaced(err),
        )
    assert installed.run(tmp_path, "swarmeval", "--version").stdout == f"swarmeval {VERSION}\n"


def renamed(text: str) -> str:
    return text.replace("python main.py", "swarmeval").replace("main.py", "swarmeval")


def spaced(text: str) -> str:
    """The text without line breaks and indentation, which depend on the length of the command's name."""
    return " ".join(text.split())


def test_help_of_the_installed_command_is_quick(installed: Installed, tmp_path: Path) -> None:
    assert installed.run(tmp_path, "swarmeval", "--help").returncode == 0  # writes the bytecode
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    installed.run(tmp_path, "swarmeval", "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < HELP_LIMIT_S


def test_a_user_without_a_config_is_told_to_give_one(installed: Installed, tmp_path: Path) -> None:
    found = installed.run(tmp_path, "swarmeval")
    assert found.stderr == "swarmeval: config/config.yaml: no such file; give an existing file with --config\n"
    assert (found.returncode, found.stdout) == (2, "")


def test_the_installed_judge_passes_canonical_replies(installed: Installed, tmp_path: Path) -> None:
    replies = [
        {"task_id": task.task_id, "reply": f"```python\n{task.prompt}{task.reference}\n```"} for task in load_tasks(2)
    ]
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(reply) + "\n" for reply in replies), encoding="utf-8")
    found = installed.run(tmp_path, "swarmeval", "score", "replies.jsonl", "--set", "eval_timeout_scale=1")
    assert found.returncode == 0, found.stderr
    results = (tmp_path / "logs/score/agent_0_results.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["outcome"] for line in results] == ["PASSED", "PASSED"]


USER_PROGRAM = """
from collections.abc import Iterator
from typing import assert_type

import swarmeval
from swarmeval import Judge, Suite, Task

task = Task("mine/add", "", Suite("add", "assert add(1, 2) == 3"))
assert_type(swarmeval.extract("", task), swarmeval.Candidate)
assert_type(swarmeval.load_tasks(limit=1), tuple[Task, ...])
with Judge(eval_workers=1) as judge:
    assert_type(judge, Judge)
    assert_type(judge.judge("", task), swarmeval.Verdict)
    assert_type(judge.judge_all([""], task), list[swarmeval.Verdict])
    assert_type(swarmeval.score([{"task_id": "a", "reply": ""}], judge=judge).pass_at_1, float | None)
    assert_type(judge.judge("", task).outcome, swarmeval.Outcome)
run = swarmeval.Run("logs")
assert_type(run.completions(), Iterator[swarmeval.Completion])
assert_type(next(run.tasks()).pass_at_1, float | None)
assert_type(swarmeval.compare(run, "other").p_value, float)
assert_type(swarmeval.pass_at_k(5, 2, 1), float)


async def block() -> swarmeval.Verdict:
    async with Judge() as judge:
        return await judge.judge_async("", task)
"""


def test_a_type_checker_finds_the_types_of_the_installed_library(installed: Installed, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed.bin / "python")]
    misspelt = "import swarmeval\nswarmeval.Judge(workers=2)\nswarmeval.jugde\n"
    for text, expected in ((USER_PROGRAM, []), (misspelt, ["program.py:2 [call-arg]", "program.py:3 [attr-defined]"])):
        (tmp_path / "program.py").write_text(text, encoding="utf-8")
        found = subprocess.run([*command, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
        errors = [line for line in found.stdout.splitlines() if ": error: " in line]
        assert [f"{line.split(': ')[0]} {line.split()[-1]}" for line in errors] == expected, found.stdout


def test_an_installed_run_has_workers_a_report_and_a_dashboard(installed: Installed, tmp_path: Path) -> None:
    words = ["--config", str(ROOT / "config/smoke.yaml"), "--num_tasks", "2", "--output_dir", "run"]
    found = installed.run(tmp_path, "swarmeval", *words, "--set", "engine=scripted", "eval_timeout_scale=1")
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "run/report.html").is_file()
    page = installed.run(tmp_path, "python", "-m", "metrics_dashboard", "--once", "--run", "run")
    assert (page.returncode, page.stderr) == (0, "")
    assert "cpu:0" in page.stdout


def test_an_installed_doctor_knows_what_the_package_requires(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("no-such-package==1.0\n", encoding="utf-8")
    program = (
        "from swarmeval.doctor import machine as m; print(len(m.requirements()), m.packages(m.requirements()).state)"
    )
    found = installed.run(tmp_path, "python", "-c", program)
    count, state = found.stdout.split()
    assert (int(count) > 30, state) == (True, "ok")


HELD = """
import json
from swarmeval.location import own_paths
from swarmeval.monitor.allocations import Allocations
with Allocations() as seen:
    from swarmeval.commands.run import run  # imports third-party packages too
    seen.look()
print(json.dumps([[path.name for path in own_paths() if path.exists()], seen.lines, seen.functions()]))
"""


def test_installed_code_tells_its_own_files_from_other_packages(installed: Installed, tmp_path: Path) -> None:
    found = installed.run(tmp_path, "python", "-c", HELD)
    paths, lines, functions = json.loads(found.stdout)
    own = ["swarmeval", *(f"{module}.py" for module in MODULES)]
    assert paths == own
    assert any(file.startswith("pydantic/") for file, *_ in lines)
    assert functions
    assert {function.partition(":")[0].partition("/")[0] for function, _ in functions} <= set(own)
