"""A warden: runs programs and their tests in jails, and returns the verdicts.

It holds three jails. Tests run in the third and call programs in the second with plain data, so that no program ever
sees an expected value. Programs without a function to call run in the first, as do those whose tests need more than
plain data. A request is {"program", "timeout_s", "memory_mb"}. The answer is {"outcome", "detail", "wall_s", "cpu_s"},
or {"broken": reason} if the fault is ours. {"running"} precedes it while others starve the program. When the other end
of its socket closes, the warden ends with all that runs in its jails. To start fast and fork cheaply, it imports only
the standard library and, in a helper process, seccomp's binding.
"""

import contextlib
import importlib
import os
import select
import shutil
import signal
import socket
import sys
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from swarmeval.sandbox.child import READY
from swarmeval.sandbox.frames import read_frame, write_frame
from swarmeval.sandbox.jail_handle import REPORT_BYTES, JailGone, JailHandle, SandboxFault, open_jail
from swarmeval.sandbox.layers.guard import LAYERS
from swarmeval.sandbox.layers.kernel import PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, PR_SET_PDEATHSIG, prctl
from swarmeval.sandbox.layers.places import Places, places
from swarmeval.sandbox.layers.seccomp import Seccomp
from swarmeval.sandbox.outcomes import judged, outcome, program_side_outcome
from swarmeval.sandbox.priority import yield_to_all
from swarmeval.sandbox.streamed_output import ENDS
from swarmeval.sandbox.tester import Tester
from swarmeval.sandbox.tests_side import UNSENDABLE

# Imported once, so that programs do not spend their time limit on them. Not threading or modules that import it: its
# work after each fork costs half as much as the fork. Not hashlib: it maps much memory that few programs need.
WARM_MODULES = (
    "abc", "array", "ast", "bisect", "calendar", "cmath", "collections", "copy", "dataclasses", "datetime",
    "decimal", "enum", "fractions", "functools", "heapq", "itertools", "json", "math", "numbers", "operator",
    "random", "re", "statistics", "string", "textwrap", "time", "types", "typing",
)  # fmt: skip
# Checks that a thread starts, that unloaded modules can be read, packages found and files written.
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
    "beside": False, "calls": (),
}  # fmt: skip
UMASK = 0o022  # not the user's: programs may have another user, who must reach files made for them
TESTS_FACTOR = 2  # times the time limit, for the tests themselves
USED_UP = ("OUT_OF_MEMORY", "CRASHED")  # a process that has tested many programs may end like this by itself
MOST_OUTPUT_BYTES = 1 << 23  # that one program may stream
# The layers to leave out, in turn, until the trial program passes. "processes" limits their number. "user" makes root
# nobody, who cannot read an interpreter that only root can read.
WITHOUT = (
    (), ("processes",), ("user",), ("namespaces",), ("namespaces", "processes"), ("namespaces", "user"),
    ("namespaces", "user", "processes"),
)  # fmt: skip


def main(control_fd: int, folder: str, mode: str, shown: Sequence[str] | None) -> None:
    """Judge programs from the inherited socket until its other end closes. `shown`: see places.places."""
    os.umask(UMASK)
    sys.argv = [""]
    for name in WARM_MODULES:
        importlib.import_module(name)
    with socket.socket(fileno=control_fd) as control:
        warden = Warden(control, folder, places(shown))
        try:
            write_frame(control, warden.open(mode))
            while (request := read_frame(control)) is not None:
                write_frame(control, warden.answer(request[0]))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the coordinator is gone
        finally:
            warden.close()
            shutil.rmtree(folder, ignore_errors=True)


class RequestAbandoned(ConnectionResetError):
    """The coordinator is gone or no longer wants an answer. The warden ends its jails without waiting for reports."""


class Warden:
    """One process of the pool, which judges one program at a time."""

    def __init__(self, control: socket.socket, folder: str, places: Places) -> None:
        self._control = control
        self._folder = folder
        self._places = places
        self._jails: list[JailHandle] = []
        self._layers: tuple[Seccomp | None, Collection[str]] = None, ()

    def open(self, mode: str) -> dict[str, Any]:
        """Set up the jails with all layers under which a trial program passes; return those in force and missing."""
        yield_to_all()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        prctl(PR_SET_PDEATHSIG, signal.SIGCONT)  # a stopped warden would not see its socket close
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        all_layers = {"processes", "user", *(LAYERS if mode != "none" else ())}
        missing: dict[str, str] = {}
        seccomp = None
        reasons: list[str] = []
        if mode != "none":
            try:
                seccomp = Seccomp()
            except OSError as error:
                missing["seccomp"] = f"{error}; install libseccomp (Debian: apt install libseccomp2)"
        for layers in dict.fromkeys(frozenset(all_layers - set(without)) for without in WITHOUT):
            try:
                self._open_jails(seccomp, layers)
                trial = self._try()
            except (OSError, SandboxFault) as error:
                reasons.append(str(error))
                continue
            if trial["outcome"] == "PASSED":
                prctl(PR_SET_DUMPABLE, 0)  # not before: the users of an undumpable process cannot be mapped
                missing |= self._jails[0].missing | dict.fromkeys(
                    sorted(all_layers - layers), reasons[0] if reasons else ""
                )
                return {"in_force": self._jails[0].in_force, "missing": missing}
            reasons.append(f"the trial program ended as {trial['outcome']}: {trial['detail']}")
        return {"broken": reasons[-1]}

    def _try(self) -> dict[str, Any]:
        """Run the trial program in every jail; return the first failure, if there is one."""
        beside = self._run_beside(TRIAL_PROGRAM, timeout_s=30.0, memory_mb=1024)
        return beside if beside["outcome"] != "PASSED" else self.run(TRIAL_PROGRAM, timeout_s=30.0, memory_mb=1024)

    def _open_jails(self, seccomp: Seccomp | None, layers: Collection[str]) -> None:
        self.close()
        self._layers = seccomp, layers
        for name in ("beside", "apart", "tests"):
            self._jails.append(self._open_jail(name))
        self._tester = Tester(self._jails[2], self._receive)

    def _open_jail(self, name: str) -> JailHandle:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # reap jails that were closed before
                pass
        return open_jail(os.path.join(self._folder, name), self._places, *self._layers)  # noqa: PTH118

    def close(self) -> None:
        """End the jails and all that runs in them, and wait until they are gone."""
        for jail in self._jails:
            jail.close()
        self._jails = []
        os.killpg(0, signal.SIGCONT)  # a stopped jail would not end
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.stream(**request) if "data" in request else self.run(**request)
        except JailGone as error:
            sys.exit(str(error))  # the pool decides whether the program is to blame
        except (OSError, SandboxFault) as error:
            return {"broken": str(error)}

    def run(self, program: dict[str, Any], timeout_s: float, memory_mb: int) -> dict[str, Any]:
        """Judge a program by tests that run apart from it and call it with plain data.

        If the tests need more than that, they run beside the program, as in the reference evaluator. A program can
        deceive such tests, so their verdict is "unconfirmed". A program without a function to call just runs.
        """
        if not program["entry_point"]:
            return self._run_beside(program, timeout_s, memory_mb)
        if not program["beside"]:
            verdict = self._run_apart(program, timeout_s, memory_mb)
            if verdict is not None:
                return verdict
        verdict = {**self._run_beside(program, timeout_s, memory_mb), "unconfirmed": True}
        self._jails[0].close()  # the program saw its tests: it must leave nothing here for the next run of the task
        prctl(PR_SET_DUMPABLE, 1)  # as in open(), to map the users of the new jail. No program runs now
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
        """Run the tests apart from the program; None if they need more than plain data."""
        verdict = self._test(program, timeout_s, memory_mb)
        if verdict is not None and verdict["outcome"] in USED_UP and self._tester.may_be_worn_out():
            self._tester.end()  # leftovers of earlier tests must not count against a program
            verdict = self._test(program, timeout_s, memory_mb)
        self._tester.prepare(TESTS_FACTOR * timeout_s, memory_mb)  # a replacement, if needed, starts now
        return verdict

    def stream(self, program: str, data: str, timeout_s: float, memory_mb: int) -> dict[str, Any]:
        """Run a program that streams results, and read them while it runs; "output" is all that it wrote."""
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
        """Run the tests and the program, each in its own jail; None if the tests need more than plain data."""
        candidate, tester = self._jails[1], self._tester
        tester.prepare(TESTS_FACTOR * timeout_s, memory_mb)
        tester.until_ready()
        one, other = socket.socketpair()
        work = {"program": program["solution"], "entry_point": program["entry_point"]}
        candidate.start_child("serve_calls", work, timeout_s, memory_mb, peer=one)
        work = {key: program[key] for key in ("context", "tests", "entry_point", "calls")}
        try:
            tester.begin(work, other)
            tests_end, report = tester.wait(partial(self._receive, candidate=candidate, timeout_s=timeout_s))
        except RequestAbandoned:
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
        """Wait for a jail's child; return how it ended. Raises SandboxFault or RequestAbandoned."""
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
        """Wait for a jail's child; return how it ended, or None if the given channel has data to read first.

        A `candidate` that the jail's child talks to is ended at its limit. Its time counts from its start, except for
        the time that either process waited for a free core.
        """
        charged_s = 0.0
        while True:
            other = candidate if candidate is not None and candidate.end is None else None
            watched = [jail.link, self._control]
            watched += [channel] if channel is not None else []
            watched += [other.link] if other is not None else []
            readable = select.select(watched, [], [])[0]
            if self._control in readable:
                raise RequestAbandoned
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
