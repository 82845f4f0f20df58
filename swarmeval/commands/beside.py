"""`--dashboard`: shows the dashboard of a run in the same terminal, drawn by a child process.

The child owns the terminal until the user quits it or the run ends. However the child ends, the run continues and
the terminal is restored.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path

from swarmeval.errors import ConfigError
from swarmeval.location import ROOT, dashboard_command
from swarmeval.watch.progress import is_dumb

DASHBOARD = ROOT / "metrics_dashboard.py"
LEAVES_S = 5.0  # time for the dashboard to exit after the run has ended
LEFT = (0, 128 + signal.SIGTERM, 128 + signal.SIGHUP)  # exit codes after which the dashboard has restored the terminal
# Resets what a killed dashboard leaves behind: alternate screen, hidden cursor, mouse, focus events, bracketed paste.
RESET = (
    b"\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1004l\x1b[?2004l\x1b[<u\x1b[0m\r"
)

log = logging.getLogger("swarmeval")


def check_terminal() -> None:
    """Raises ConfigError if stdin and stdout are not a terminal that can be drawn on."""
    if not (os.isatty(0) and os.isatty(1)) or is_dumb():
        raise ConfigError(
            "--dashboard needs a terminal as stdin and stdout; omit it, or watch from another terminal: "
            + dashboard_command()
        )


class DashboardProcess:
    """The dashboard process on this terminal (a TerminalOwner of ProgressDisplay)."""

    def __init__(self, folder: Path, interval_s: float = 1.0) -> None:
        """Start the dashboard for this run folder."""
        self._modes = termios.tcgetattr(0)
        words = [sys.executable, str(DASHBOARD), "--run", str(folder), "--interval", f"{interval_s:g}"]
        # Textual draws on stderr, which may be redirected in this process.
        self._child = subprocess.Popen([*words, "--beside", str(os.getpid())], stderr=1)
        self._is_drawing = True

    def is_drawing(self) -> bool:
        """Whether the dashboard is still running. If it has ended, restores the terminal."""
        if self._is_drawing and (code := self._child.poll()) is not None:
            self._is_drawing = False
            self._restore(code)
        return self._is_drawing

    def close(self) -> None:
        """Stop the dashboard. Idempotent."""
        if self.is_drawing():
            self._child.terminate()
            try:
                self._child.wait(LEAVES_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            self.is_drawing()

    def _restore(self, code: int) -> None:
        if code in LEFT:
            return
        with contextlib.suppress(OSError, termios.error):  # the terminal is gone
            os.write(1, RESET)
            termios.tcsetattr(0, termios.TCSADRAIN, self._modes)
        log.warning(
            "the dashboard ended (%s), the run continues; to show it again: %s", _exit_words(code), dashboard_command()
        )


def _exit_words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
