"""A warden: the process that judges one program at a time, in three jails.

Programs run in the second jail. Their tests run in the third and call them with plain data, so that no program sees the
expected values. The first jail runs programs together with their tests if the tests call no function or need more than
plain data.

A warden reads {"program": ..., "timeout_s", "memory_mb"} and answers {"outcome", "detail", "wall_s", "cpu_s"}, or
{"broken": reason} if the sandbox failed. While other processes starve a program, {"running"} messages precede the
answer. The warden and everything in its jails end when the other end of its socket closes. It only imports the standard
library and the seccomp binding, so that it starts fast and forks cheaply.
"""

import importlib
import os
import select
import socket
import sys
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from swarmeval.sandbox.child import READY
from swarmeval.sandbox.frames import write_frame
from swarmeval.sandbox.jail_handle import REPORT_BYTES, JailGone, JailHandle, SandboxFault, open_jail
from swarmeval.sandbox.layers.kernel import PR_SET_DUMPABLE, prctl
from swarmeval.sandbox.layers.places import Places, places
from swarmeval.sandbox.layers.seccomp import Seccomp
from swarmeval.sandbox.outcomes import judged, outcome, program_side_outcome
from swarmeval.sandbox.service import NobodyWaits, begin, end_jails, open_with_most_layers, reap, serve
from swarmeval.sandbox.streamed_output import ENDS
from swarmeval.sandbox.tester import Tester
from swarmeval.sandbox.tests_side import UNSENDABLE

# Imported once, so that no program spends its time limit on them. Excludes threading and its users, because its setup
# after each fork costs half as much as the fork, and hashlib, which maps much memory and is rarely used.
WARM_MODULES = (
    "abc", "array", "ast", "bisect", "calendar", "cmath", "collections", "copy", "dataclasses", "datetime",
    "decimal", "enum", "fractions", "functools", "heapq", "itertools", "json", "math", "numbers", "operator",
    "random", "re", "statistics", "string", "textwrap", "time", "types", "typing",
)  # fmt: skip
# Tests that threads start, unloaded modules can be read, installed packages are found and files can be written.
TRIAL = """
import contextlib, os, sysconfig, threading, colorsys
for key in ("purelib", "platlib"):
    with contextlib.suppress(FileNotFoundError): os.listdir(sysconfig.get_path(key))
thread = threading.Thread(target=int)
thread.start()
thread.join()
with open("trial", "w") as file: file.write("x")
def answer(x): return x
"""
TRIAL_TESTS = "def check(candidate):\n    assert candidate((1, [2.5])) == (1, [2.5])\ncheck(answer)"
TRIAL_PROGRAM = {
    "text": f"{TRIAL}\n{TRIAL_TESTS}", "solution": TRIAL, "tests": TRIAL_TESTS, "entry_point": "answer", "context": "",
    "beside": False, "calls": (), "owner": "",
}  # fmt: skip
TESTS_FACTOR = 2  # time limit of the tests themselves, as a multiple of the program's
USED_UP = ("OUT_OF_MEMORY", "CRASHED")  # outcomes that may be due to the wear of a process used by many programs
MOST_OUTPUT_BYTES = 1 << 23  # bytes that one program may stream


def main(control_fd: int, folder: str, mode: str, shown: Sequence[str] | None, yields: bool) -> None:
    """Serve programs from the inherited socket until its other end closes. `shown`, `yields`: see Sandbox."""
    begin(yields)
    for name in WARM_MODULES:
        importlib.import_module(name)
    with socket.socket(fileno=control_fd) as control:
        serve(Warden(control, folder, places(shown)), control, folder, mode)


class Warden:
    """Judges one program at a time."""

    def __init__(self, control: socket.socket, folder: str, places: Places) -> None:
        self._control = control
        self._folder = folder
        self._places = places
        self._jails: list[JailHandle] = []
        self._layers: tuple[Seccomp | None, Collection[str]] = None, ()

    def open(self, mode: str) -> dict[str, Any]:
        """Set up the jails with as many layers as the trial program allows; return the active and the missing ones."""
        return open_with_most_layers(mode, False, self._try_layers)

    def _try_layers(self, seccomp: Seccomp | None, layers: Collection[str]) -> tuple[JailHandle, dict[str, Any]]:
        self._open_jails(seccomp, layers)
        return self._jails[0], self._try()

    def _try(self) -> dict[str, Any]:
        """Run the trial program in all jails; return the first failure, or the last result."""
        beside = self._run_beside(TRIAL_PROGRAM, timeout_s=30.0, memory_mb=1024)
        return beside if beside["outcome"] != "PASSED" else self.run(TRIAL_PROGRAM, timeout_s=30.0, memory_mb=1024)

    def _open_jails(self, seccomp: Seccomp | None, layers: Collection[str]) -> None:
        self.close()
        self._layers = seccomp, layers
        for name in ("beside", "apart", "tests"):
            self._jails.append(self._open_jail(name))
        self._tester = Tester(self._jails[2], self._receive)

    def _open_jail(self, name: str) -> JailHandle:
        reap()
        return open_jail(os.path.join(self._folder, name), self._places, *self._layers)  # noqa: PTH118

    def close(self) -> None:
        """End the jails and their children, and wait for them."""
        end_jails(self._jails)
        self._jails = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.stream(**request) if "data" in request else self.run(**request)
        except JailGone as error:
            sys.exit(str(error))  # the pool decides whether the program is to blame
        except (OSError, SandboxFault) as error:
            return {"broken": str(error)}

    def run(self, program: dict[str, Any], timeout_s: float, memory_mb: int) -> dict[str, Any]:
        """Judge a program with tests in a separate process, which call it with plain data.

        Tests that need more, or that call no function, run in the same process as the program, as in the reference
        evaluator. These verdicts are marked as "unconfirmed", because a program can deceive tests in its own process.
        """
        if not program["entry_point"]:
            return self._run_beside(program, timeout_s, memory_mb)
        if not program["beside"]:
            verdict = self._run_apart(program, timeout_s, memory_mb)
            if verdict is not None:
                return verdict
        verdict = {**self._run_beside(program, timeout_s, memory_mb), "unconfirmed": True}
        self._jails[0].close()  # the program has seen its tests and must not leave anything for another run of the task
        prctl(PR_SET_DUMPABLE, 1)  # see open(); no program is running now
        try:
            self._jails[0] = self._open_jail("beside")
        finally:
            prctl(PR_SET_DUMPABLE, 0)
        return verdict

    def _run_beside(self, program: dict[str, Any], timeout_s: float, memory_mb: int) -> dict[str, Any]:
        jail = self._jails[0]
        jail.start_child("run", {"program": program["text"]}, timeout_s, memory_mb)
        end = self._wait(jail)
        return {**outcome(end, jail.report(), timeout_s, memory_mb), "cpu_s": end["cpu_s"]}

    def _run_apart(self, program: dict[str, Any], timeout_s: float, memory_mb: int) -> dict[str, Any] | None:
        """The verdict of tests in a separate process; None if they need more than plain data."""
        verdict = self._test(program, timeout_s, memory_mb)
        if verdict is not None and verdict["outcome"] in USED_UP and self._tester.may_be_worn_out():
            self._tester.end()  # earlier tests must not affect the verdict
            verdict = self._test(program, timeout_s, memory_mb)
        # Starts the next process in advance.
        self._tester.prepare(TESTS_FACTOR * timeout_s, memory_mb, program["owner"])
        return verdict

    def stream(self, program: str, data: str, timeout_s: float, memory_mb: int) -> dict[str, Any]:
        """Run a program that streams output. "output" in the answer is complete up to the end, however it comes."""
        jail = self._jails[0]
        jail.start_child("stream", {"program": program, "data": data}, timeout_s, memory_mb)
        received, channel = b"", jail.channel
        is_open = True
        while (end := self._receive(jail, channel if is_open else None)) is None:
            piece = channel.recv(REPORT_BYTES)
            received += piece
            is_open = bool(piece) and len(received) < MOST_OUTPUT_BYTES
            if len(received) >= MOST_OUTPUT_BYTES:
                jail.stop()
        received += jail.report()
        begun = received.startswith(READY)
        output, _, ending = (
            received[len(READY) :].rpartition(ENDS) if ENDS in received else (received[len(READY) :], b"", b"")
        )
        verdict = outcome(end, READY + ending if begun else received, timeout_s, memory_mb)
        return {**verdict, "cpu_s": end["cpu_s"], "output": output.decode(errors="replace")}

    def _test(self, program: dict[str, Any], timeout_s: float, memory_mb: int) -> dict[str, Any] | None:
        """Run the tests out of the program's reach; None if they need more than plain data."""
        candidate, tester = self._jails[1], self._tester
        tester.prepare(TESTS_FACTOR * timeout_s, memory_mb, program["owner"])
        tester.until_ready()
        one, other = socket.socketpair()
        work = {"program": program["solution"], "entry_point": program["entry_point"]}
        candidate.start_child("serve_calls", work, timeout_s, memory_mb, peer=one)
        work = {key: program[key] for key in ("context", "tests", "entry_point", "calls")}
        try:
            tester.begin(work, other)
            tests_end, report = tester.wait(partial(self._receive, candidate=candidate, timeout_s=timeout_s))
        except NobodyWaits:
            raise
        except (OSError, SandboxFault):
            candidate.stop()
            self._wait(candidate)
            candidate.report()
            tester.end()
            raise
        candidate.stop()
        end = self._wait(candidate)
        program_verdict = program_side_outcome(end, candidate.report(), timeout_s, memory_mb)
        if report.removeprefix(READY).startswith(UNSENDABLE):
            return None
        verdict = judged(tests_end, report, program_verdict, TESTS_FACTOR * timeout_s, memory_mb)
        shown = {"calls": tester.calls} if tester.calls is not None else {}
        return {**verdict, **shown, "cpu_s": end["cpu_s"]}

    def _wait(self, jail: JailHandle) -> dict[str, Any]:
        """Wait for the end of a jail's child. Raises SandboxFault, or NobodyWaits if the coordinator is gone."""
        end = jail.end or self._receive(jail, None)
        assert end is not None
        return end

    def _receive(
        self,
        jail: JailHandle,
        channel: socket.socket | None,
        candidate: JailHandle | None = None,
        timeout_s: float = 0.0,
    ) -> dict[str, Any] | None:
        """Wait for the end of a jail's child; return None if the channel, if given, becomes readable first.

        A `candidate` that talks to the jail's child is ended at its limit: the time since its start, excluding the
        time that either process waited for a free core.
        """
        charged_s = 0.0
        while True:
            other = candidate if candidate is not None and candidate.end is None else None
            watched = [jail.link, self._control]
            watched += [channel] if channel is not None else []
            watched += [other.link] if other is not None else []
            readable = select.select(watched, [], [])[0]
            if self._control in readable:
                raise NobodyWaits
            if jail.link in readable:
                message = jail.receive()
                if "end" in message:
                    return message
                if other is not None and charged_s - message.get("waited_s", charged_s) >= timeout_s:
                    other.limit()
            elif other is not None and other.link in readable:
                message = other.receive()
                if "end" not in message:
                    charged_s = message["charged_s"]
                    jail.request_waiting()
            else:
                return None
            if "running" in message:
                write_frame(self._control, {"running": True})
