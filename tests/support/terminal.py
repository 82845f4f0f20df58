"""A command in a pseudo-terminal: sends keys and reads the screen output."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tests.support.checkout import ROOT

PATIENCE_S = 100


class Terminal:
    """A terminal of 80 columns and 24 lines with the command in the foreground of a new session."""

    def __init__(self, *words: str, env: Mapping[str, str] | None = None) -> None:
        self.fd, self.tty = pty.openpty()
        fcntl.ioctl(self.tty, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.modes = termios.tcgetattr(self.tty)
        self.text = ""
        self._unread = ""
        # setsid --ctty: signals of the terminal, such as Ctrl-C, reach the command and its children
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", sys.executable, *words],
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})},
            stdin=self.tty,
            stdout=self.tty,
            stderr=self.tty,
            # Under a background job of a shell, SIGINT is ignored, and children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def send(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def read_until(self, word: str) -> None:
        """Read output until the word appears after all previously awaited words."""
        deadline = time.monotonic() + PATIENCE_S
        while word not in self._unread and time.monotonic() < deadline:
            ended = self.process.poll() is not None
            if not self._read(1.0) and ended:
                break
        assert word in self._unread, self._unread[-2000:]
        self._unread = self._unread.partition(word)[2]

    def close(self) -> int:
        """Read to the end, check that the terminal modes are restored, and return the exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(0.05)
        code = self.process.wait(1)
        self._read(0.0)
        assert termios.tcgetattr(self.tty) == self.modes
        return code

    def _read(self, seconds: float) -> bool:
        """Read pending output; return whether any arrived within this time."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        drawn = os.read(self.fd, 65536).decode(errors="replace")
        self.text += drawn
        self._unread += drawn
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.fd)
        os.close(self.tty)
