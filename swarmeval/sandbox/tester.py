"""The warden's handle of the process that runs tests. One process serves many programs.

The process only runs the tests of one owner on plain data, so programs leave nothing in it. It is replaced if tests
changed its interpreter or did not end, for tests of another owner, and after some hundred programs, to release memory.
"""

import json
import socket
import time
from collections.abc import Callable
from typing import Any

from swarmeval.sandbox.child import READY
from swarmeval.sandbox.frames import read_bytes, write_frame
from swarmeval.sandbox.jail_handle import REPORT_BYTES, JailHandle
from swarmeval.sandbox.tests_side import GARBLED, LOST, REUSABLE

MOST_PROGRAMS = 200
MOST_SHOWN_BYTES = 1 << 20  # recorded calls of one task's tests

# Returns the next message of a jail, or None if the socket, if given, becomes readable first.
Receive = Callable[[JailHandle, socket.socket | None], dict[str, Any] | None]


class Tester:
    """Manages at most one test process, in the given jail."""

    def __init__(self, jail: JailHandle, next_message: Receive) -> None:
        self._jail = jail
        self._next_message = next_message
        self._terms: tuple[float, int, str] | None = None  # limits and owner of the process; None without a process
        self._is_ready = False
        self._programs = 0
        self._begun = 0.0
        self._is_reusable = False
        self._blames_program = False
        self._shows_calls = False
        self.calls: list[str] | None = None  # made by the last tests, if they were recorded

    def prepare(self, timeout_s: float, memory_mb: int, owner: str) -> None:
        """Make sure that a process for tests of this owner is running or starting. Raises SandboxFault."""
        terms = (timeout_s, memory_mb, owner)
        is_idle = time.monotonic() - self._begun > timeout_s  # its jail will end an idle process
        if is_idle or self._terms != terms or self._programs == MOST_PROGRAMS or not self._is_reusable:
            self.end()
        if self._terms is None:
            self._jail.start_child("run_tests", {}, timeout_s, memory_mb)
            self._terms, self._is_ready, self._programs, self._is_reusable = terms, False, 0, True
            self._begun = time.monotonic()

    def until_ready(self) -> None:
        """Wait for the prepared process, so that its start is not charged to a program. Raises SandboxFault."""
        channel = self._jail.channel
        while not self._is_ready and self._jail.end is None and self._next_message(self._jail, channel) is None:
            if channel.recv(len(READY), socket.MSG_PEEK) != READY:
                return  # the start failed; wait() gets the reason
            self._is_ready = bool(channel.recv(len(READY)))

    def begin(self, work: dict[str, Any], peer: socket.socket) -> None:
        """Start testing the program at the other end of `peer`. Raises SandboxFault."""
        assert self._terms is not None
        self._shows_calls, self.calls = work["calls"] is None, None
        if not self._submit(work, peer):  # the process has died in the meantime
            terms = self._terms
            self.end()
            self.prepare(*terms)
            self._submit(work, peer)  # if this fails, wait() gets the reason
        peer.close()
        self._programs += 1
        self._begun = time.monotonic()
        self._is_reusable = False  # until it reports otherwise

    def _submit(self, work: dict[str, Any], peer: socket.socket) -> bool:
        """Send the work; return False if the process is gone."""
        try:
            self._jail.restart_clock()
            write_frame(self._jail.channel, work, [peer.fileno()])
        except OSError:
            return False
        return True

    def wait(self, next_message: Receive) -> tuple[dict[str, Any], bytes]:
        """Wait for the tests; return (how they ended, their report). Raises SandboxFault."""
        channel = self._jail.channel
        has_ended = self._blames_program = False
        while (end := next_message(self._jail, None if has_ended else channel)) is None:
            if not self._is_ready and channel.recv(len(READY), socket.MSG_PEEK) == READY:
                self._is_ready = bool(channel.recv(len(READY)))
            elif self._is_ready and (report := read_bytes(channel, REPORT_BYTES)) is not None:
                wall_s = time.monotonic() - self._begun
                self._is_reusable = report.startswith(REUSABLE)
                self._blames_program = report[len(REUSABLE) :].startswith((LOST, GARBLED))
                if self._shows_calls and (shown := read_bytes(channel, MOST_SHOWN_BYTES)) is not None:
                    self.calls = calls_in(shown)
                end = {"end": "ended", "status": 0, "peak_mb": 0.0, "cpu_s": 0.0, "wall_s": wall_s}
                return end, READY + report[len(REUSABLE) :]
            else:
                has_ended = True
        self._terms = None
        return end, (READY if self._is_ready else b"") + self._jail.report()

    def may_be_worn_out(self) -> bool:
        """Whether earlier tests may have caused the last outcome.

        That is possible if the process had tested other programs and the last tests did not blame the program.
        """
        return self._programs > 1 and not self._blames_program

    def end(self) -> None:
        """End the process, if any, and read its last messages. Raises SandboxFault."""
        if self._terms is not None:
            self._terms = None
            self._jail.stop()
            while self._jail.end is None:
                self._next_message(self._jail, None)
            self._jail.report()


def calls_in(shown: bytes) -> list[str]:
    """The recorded calls in a message of tests, which may be hostile: none if it has another form."""
    try:
        calls = json.loads(shown)
    except (ValueError, RecursionError):
        return []
    return calls if isinstance(calls, list) and all(isinstance(call, str) for call in calls) else []
