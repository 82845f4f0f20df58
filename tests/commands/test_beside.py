"""Claims about main.py --dashboard: the run is not affected, and the terminal is restored afterwards."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.checkout import ROOT
from tests.support.terminal import Terminal

ENTERED, LEFT = "\x1b[?1049h", "\x1b[?1049l"  # the alternate screen
SCRIPTED = (
    "main.py",
    "--config",
    "config/smoke.yaml",
    "--set",
    "engine=scripted",
    "eval_timeout_scale=1",
    "--dashboard",
    "--num_agents",
)
FEW, MANY = "40", "500"  # agents for 8 s or 100 s of work, enough to observe the run on any machine
SLOW = {"rows": 8, "steps": 4, "step_s": 0.05}


def run_in(folder: Path, agents: str = FEW) -> Terminal:
    script = folder.with_suffix(".json")
    script.write_text(json.dumps(SLOW))
    words = [*SCRIPTED, agents, "--output_dir", str(folder)]
    words.insert(words.index("--set") + 1, f"model_id={script}")
    return Terminal(*words)


def dashboard_of(terminal: Terminal) -> psutil.Process:
    children = psutil.Process(terminal.process.pid).children()
    (dashboard,) = (child for child in children if any("metrics_dashboard" in word for word in child.cmdline()))
    return dashboard


@pytest.mark.slow
def test_a_run_shows_the_dashboard_and_prints_its_summary_at_its_end(tmp_path: Path) -> None:
    with run_in(tmp_path) as terminal:
        terminal.read_until(ENTERED)
        terminal.read_until("320 jobs (")
        terminal.read_until(LEFT)
        terminal.read_until("320/320")  # the plain progress bar again
        terminal.read_until("files ")
        assert terminal.close() == 0


@pytest.mark.slow
def test_q_leaves_the_run_going_with_the_plain_progress(tmp_path: Path) -> None:
    with run_in(tmp_path, MANY) as terminal:
        terminal.read_until("tasks x agents")
        terminal.send("q")
        terminal.read_until(LEFT)
        terminal.read_until("ETA")
        terminal.send("\x03")  # no need to run to the end
        terminal.read_until("Stopped after finishing running jobs. Repeat the command to resume.")
        assert terminal.close() == 130


@pytest.mark.slow
def test_ctrl_c_in_the_dashboard_is_one_in_the_run(tmp_path: Path) -> None:
    with run_in(tmp_path, MANY) as terminal:
        terminal.read_until("generating")
        terminal.send("\x03")
        terminal.read_until(LEFT)
        terminal.read_until("Stopped after finishing running jobs. Repeat the command to resume.")
        assert terminal.close() == 130


@pytest.mark.slow
@pytest.mark.fault(
    "dashboard killed (SIGKILL)",
    "while it shows a run in the same terminal",
    "the run continues; the terminal is restored",
)
def test_a_dashboard_that_is_killed_costs_the_run_nothing(tmp_path: Path) -> None:
    with run_in(tmp_path, MANY) as terminal:
        terminal.read_until("tasks x agents")
        dashboard_of(terminal).kill()
        terminal.read_until(LEFT)
        terminal.read_until("the dashboard ended (signal 9), the run continues")
        terminal.read_until("ETA")
        terminal.send("\x03")  # no need to run to the end
        terminal.read_until("Stopped after finishing running jobs. Repeat the command to resume.")
        assert terminal.close() == 130


@pytest.mark.slow
def test_a_dashboard_does_not_outlive_its_coordinator(tmp_path: Path) -> None:
    with run_in(tmp_path, MANY) as terminal:
        terminal.read_until("tasks x agents")
        dashboard = dashboard_of(terminal)
        os.kill(terminal.process.pid, signal.SIGKILL)
        terminal.process.wait(10)
        with contextlib.suppress(psutil.NoSuchProcess):
            dashboard.wait(30)
        assert not dashboard.is_running()


@pytest.mark.slow
def test_without_a_terminal_it_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, *SCRIPTED, FEW, "--output_dir", str(folder)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "swarmeval: --dashboard needs a terminal as stdin and stdout; omit it, or watch from another terminal: "
        "python metrics_dashboard.py\n"
    )
    assert not folder.exists()
