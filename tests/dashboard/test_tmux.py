"""Claims about the dashboard as users see it: in a terminal multiplexer, controlled by keys."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.made_up_run import write_run

PATIENCE_S = 100

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed: apt install tmux"),
]


class Tmux:
    """A separate tmux server with one window."""

    def __init__(self, socket: Path, width: int, height: int, *words: str) -> None:
        self._socket = socket
        size = ("-x", str(width), "-y", str(height))
        shell = f"cd {ROOT} && {' '.join(words)}; echo left with $?; cat"
        self.command("-f", "/dev/null", "new-session", "-d", *size, shell)

    def command(self, *words: str) -> str:
        command = ["tmux", "-S", str(self._socket), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def send(self, *keys: str) -> None:
        self.command("send-keys", *keys)

    def shows(self, *words: str) -> str:
        """Wait until the screen shows all of these words, and return it."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            screen = self.command("capture-pane", "-p")
            if all(word in screen for word in words):
                return screen
            time.sleep(0.05)  # tmux does not signal screen changes
        raise AssertionError(f"{words} do not appear in\n{screen}")


@pytest.fixture(params=[(80, 24), (160, 48)], ids=["80x24", "160x48"])
def tmux(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tmux]:
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run")
    words = (sys.executable, "metrics_dashboard.py", "--run", str(tmp_path / "run"), "--interval", "0.2")
    driven = Tmux(tmp_path / "tmux", *request.param, *words)
    yield driven
    driven.command("kill-server")


def test_it_is_driven_by_its_keys(tmux: Tmux) -> None:
    screen = tmux.shows("412/8200 jobs", "coordinator PID", "cuda:1 restarting", "agent 2", "CPU 43 %")
    assert "88° hot" in screen
    tmux.send("Down", "Enter")
    tmux.shows("1/HumanEval/0/0/0", "prompt", "Complete the following Python function.")
    tmux.send("Escape")
    tmux.shows("412/8200 jobs")
    tmux.send("p")
    tmux.shows("PAUSED, press p to continue")
    tmux.send("q")
    tmux.shows("left with 0")
