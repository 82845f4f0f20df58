"""`--dashboard`: the dashboard as the face of a run, in the same terminal. A child process draws; the run goes on.

The child has the terminal until it is left or the run ends. Whatever becomes of it, the run does not notice and the
terminal is as it was.
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
LEAVES_S = 5.0  # that it may take to leave the terminal when the run has ended
LEFT = (0, 128 + signal.SIGTERM, 128 + signal.SIGHUP)  # exit codes after which it has cleaned up itself
# What a killed one leaves behind: no alternate screen, a cursor, no mouse, no focus events, no pasting in brackets.
RESET = (
    b"\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1004l\x1b[?2004l\x1b[<u\x1b[0m\r"
)

log = logging.getLogger("swarmeval")


def check_terminal() -> None:
    """Raises ConfigError where there is no terminal to draw on."""
    if not (os.isatty(0) and os.isatty(1)) or is_dumb():
        raise ConfigError(
            "--dashboard needs a terminal, as stdin and stdout; leave it out, or watch from another one: "
            + dashboard_command()
        )


class DashboardProcess:
    """The dashboard on this terminal (a TerminalOwner of ProgressDisplay)."""

    def __init__(self, folder: Path, interval_s: float = 1.0) -> None:
        """Start it for this run folder."""
        self._modes = termios.tcgetattr(0)
        words = [sys.executable, str(DASHBOARD), "--run", str(folder), "--interval", f"{interval_s:g}"]
        # Textual draws on stderr, which may go elsewhere here.
        self._child = subprocess.Popen([*words, "--beside", str(os.getpid())], stderr=1)
        self._is_drawing = True

    def is_drawing(self) -> bool:
        """Whether it still draws; when it has ended, the terminal is made good."""
        if self._is_drawing and (code := self._child.poll()) is not None:
            self._is_drawing = False
            self._restore(code)
        return self._is_drawing

    def close(self) -> None:
        """Have it leave. Idempotent."""
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
        with contextlib.suppress(OSError, termios.error):  # a terminal that is gone needs nothing
            os.write(1, RESET)
            termios.tcsetattr(0, termios.TCSADRAIN, self._modes)
        log.warning(
            "the dashboard ended (%s), the run goes on; %s shows it again", _exit_words(code), dashboard_command()
        )


def _exit_words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
