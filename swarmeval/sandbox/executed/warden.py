"""A warden of executed programs: judges one at a time, in a jail that runs commands.

It reads {"executed": order, "timeout_s", "memory_mb"} and answers as the other warden does (see sandbox/warden.py).
The order of "captured" asks for the output of a program instead (see capture.py).
"""

import json
import os
import select
import socket
import sys
from collections.abc import Collection, Sequence
from typing import Any

from swarmeval.sandbox.executed.capture import MOST_OUTPUT, capture
from swarmeval.sandbox.executed.handle import CommandJail, Limits
from swarmeval.sandbox.executed.judging import ProgramJudge, last_line
from swarmeval.sandbox.frames import write_frame
from swarmeval.sandbox.jail_handle import JailGone, JailHandle, SandboxFault, open_jail
from swarmeval.sandbox.layers.places import Places, executable_places
from swarmeval.sandbox.layers.seccomp import Seccomp
from swarmeval.sandbox.service import NobodyWaits, begin, end_jails, open_with_most_layers, reap, serve

# Needs a shell, a second process, a folder that is writable by its absolute path too, and the interpreter of checkers.
TRIAL: dict[str, Any] = {
    "files": [["trial", "5"]], "build": ["/bin/sh", "-c", "/bin/cat trial > $TMPDIR/built & wait"],
    "run": ["/bin/cat", "built"], "check": [], "environment": {}, "cases": [["", "5", []]], "rule": "checker",
    "tolerance": 0.0, "checker": "def check(stdin, expected, output): return output == expected", "secret": "",
    "failure_exit_code": None, "failure_output": "", "scale": 1.0,
}  # fmt: skip
PYTHON = os.path.realpath(sys.executable)  # not the link of a virtual environment
CHECKER_LIMITS = Limits(timeout_s=30.0, memory_mb=1024)
# Runs a checker on the three texts in its standard input, and prints whether the output is correct.
CHECK = """
import json, sys
texts = json.load(sys.stdin)
sys.stdin, out, sys.stdout = None, sys.stdout, sys.stderr
print("correct" if check(*texts) else "wrong", file=out)
"""


def main(control_fd: int, folder: str, mode: str, toolchains: Sequence[str], yields: bool) -> None:
    """Serve programs from the inherited socket until its other end closes.

    `toolchains`: folders and files that programs may read and execute, besides those of the system. `yields`: see
    Sandbox.
    """
    begin(yields)
    with socket.socket(fileno=control_fd) as control:
        serve(ExecutionWarden(control, folder, executable_places(toolchains)), control, folder, mode)


class ExecutionWarden:
    """Judges one executed program at a time."""

    def __init__(self, control: socket.socket, folder: str, places: Places) -> None:
        self._control = control
        self._folder = folder
        self._places = places
        self._layers: tuple[Seccomp | None, Collection[str]] = None, ()
        self._jail: JailHandle | None = None
        self._checkers: JailHandle | None = None  # the jail of checkers, which read the outputs of programs

    def open(self, mode: str) -> dict[str, Any]:
        """Set up the jail with as many layers as the trial program allows; return the active and the missing ones."""
        return open_with_most_layers(mode, True, self._try_layers)

    def _try_layers(self, seccomp: Seccomp | None, layers: Collection[str]) -> tuple[JailHandle, dict[str, Any]]:
        self.close()
        if os.getuid() == 0 and "processes" in layers and "user" not in layers:
            raise SandboxFault("the kernel does not count the processes of root")
        self._layers = seccomp, layers
        self._jail = self._open_jail("programs", self._places)
        self._checkers = self._open_jail("checkers", executable_places([sys.base_prefix]))
        return self._jail, self.run(TRIAL, timeout_s=30.0, memory_mb=1024)

    def _open_jail(self, name: str, places: Places) -> JailHandle:
        reap()
        return open_jail(os.path.join(self._folder, name), places, *self._layers, executes=True)  # noqa: PTH118

    def close(self) -> None:
        end_jails(jail for jail in (self._jail, self._checkers) if jail is not None)
        self._jail = self._checkers = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            if "captured" in request:
                limits = Limits(request["timeout_s"], request["memory_mb"], MOST_OUTPUT)
                assert self._jail is not None
                return capture(CommandJail(self._jail, self._receive), request["captured"], limits)
            return self.run(request["executed"], request["timeout_s"], request["memory_mb"])
        except JailGone as error:
            sys.exit(str(error))  # the pool decides whether the program is to blame
        except (OSError, SandboxFault) as error:
            return {"broken": str(error)}

    def run(self, order: dict[str, Any], timeout_s: float, memory_mb: int) -> dict[str, Any]:
        """Judge a program. One that contains its tests can deceive them, so its verdict is marked as unconfirmed."""
        assert self._jail is not None
        check = self._checker(order["checker"]) if order["rule"] == "checker" else None
        judge = ProgramJudge(CommandJail(self._jail, self._receive), order, Limits(timeout_s, memory_mb), check)
        verdict = judge.verdict()
        return {**verdict, "unconfirmed": True} if not order["cases"] else verdict

    def _checker(self, source: str) -> Any:
        """The check of a checker's source."""
        assert self._checkers is not None
        jail = CommandJail(self._checkers, self._receive)

        def check(stdin: str, expected: str, output: str) -> str:
            jail.begin([("checker.py", f"{source}\n{CHECK}")])
            texts = json.dumps([stdin, expected, output])
            end = jail.run([PYTHON, "-I", "checker.py"], CHECKER_LIMITS, {}, texts)
            if end.cannot_run:
                raise SandboxFault(f"the checker cannot be run: {last_line(end.errors)}")
            if end.succeeded and end.output.strip() == "correct":
                return ""
            return "the checker refuses it" if end.succeeded else f"the checker failed: {last_line(end.errors)}"

        return check

    def _receive(self, jail: JailHandle) -> dict[str, Any]:
        """The jail's next message that is not about a running command."""
        while True:
            if self._control in select.select([jail.link, self._control], [], [])[0]:
                raise NobodyWaits
            message = jail.receive()
            if "running" not in message:
                return message
            write_frame(self._control, {"running": True})
