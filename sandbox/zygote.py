"""The warm parent: a small Python process that forks one confined child per program.

It reads {"program", "timeout_s", "memory_mb"} and answers {"outcome", "detail", "wall_s"}, or {"broken": reason} when
the fault is ours; while others starve the program, {"running"} comes before that. When the other end of its socket
closes, it kills what runs, removes its folder and ends. Standard library only: it must start fast and fork cheaply.
"""

import contextlib
import importlib
import json
import os
import secrets
import select
import shutil
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

from sandbox.child import BROKEN, READY, be_the_child
from sandbox.clock import charged_s
from sandbox.guard import MB, Guard, Limits

# Imported once, so that no program spends its time limit on them.
WARM_MODULES = (
    "abc", "array", "ast", "bisect", "calendar", "cmath", "collections", "copy", "dataclasses", "datetime",
    "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "itertools", "json", "math", "numbers",
    "operator", "queue", "random", "re", "statistics", "string", "textwrap", "threading", "time", "types",
    "typing",
)  # fmt: skip
TRIAL = "import threading\nthread = threading.Thread(target=int)\nthread.start()\nthread.join()\n"
TRIAL_LIMITS = Limits(timeout_s=30.0, memory_mb=1024)
STILL_RUNNING = {"running": True}
LEAST_WAIT_S = 0.05
SETUP_LIMIT_S = 60.0  # from fork to the first line of the program
TOKEN_BYTES = 16
OUTCOMES = (b"PASSED", b"WRONG_ANSWER", b"RAISED", b"OUT_OF_MEMORY", b"BAD_SYNTAX")  # that a child may report
LENGTH = struct.Struct(">I")
MEMORY_SHARE = 0.5  # a program killed by a signal with this share of its memory in use ran out of memory


class Broken(Exception):
    """The sandbox, not the program, failed."""


def main(control_fd: int, folder: str) -> None:
    """Serve programs from the inherited socket until its other end closes. `folder` is ours to fill and remove."""
    sys.argv = [""]
    for name in WARM_MODULES:
        importlib.import_module(name)
    with socket.socket(fileno=control_fd) as control:
        zygote = Zygote(control, folder)
        try:
            write_frame(control, zygote.open())
            while (request := read_frame(control)) is not None:
                write_frame(control, zygote.answer(request))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the coordinator is gone; so are we
        finally:
            remove_folder(folder)


class Zygote:
    """One slot of the pool: runs one program at a time."""

    def __init__(self, control: socket.socket, folder: str) -> None:
        self._control = control
        self._folder = folder
        self._guard = Guard()
        self._wakeup, wakeup_end = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(wakeup_end, False)
        signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def open(self) -> dict[str, Any]:
        """Set the layers up, prove with a trial program that they let honest work through, and name them."""
        reason = ""
        for limits_processes in (True, False):  # where this user's processes cannot be counted, no limit can be chosen
            try:
                self._guard.limits_processes = limits_processes
                self._guard.prepare()
                trial = self.run(TRIAL, TRIAL_LIMITS)
            except (OSError, Broken) as error:
                reason = str(error)
            else:
                if trial["outcome"] == "PASSED":
                    return {"in_force": self._guard.in_force()}
                reason = f"the trial program ended as {trial['outcome']}: {trial['detail']}"
        return {"broken": reason}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.run(request["program"], Limits(request["timeout_s"], request["memory_mb"]))
        except (OSError, Broken) as error:
            return {"broken": str(error)}

    def run(self, program: str, limits: Limits) -> dict[str, Any]:
        """Fork, watch and clean up after one program."""
        self._guard.before_fork()
        folder = os.path.join(self._folder, secrets.token_hex(8))  # noqa: PTH118 (a Path costs more time)
        os.mkdir(folder, 0o700)  # noqa: PTH102
        token = secrets.token_bytes(TOKEN_BYTES)
        report, report_end = os.pipe()  # our own write end stays open: no end of file can wake us for nothing
        os.set_blocking(report, False)
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            be_the_child(self._guard, program, limits, folder, report_end, token, parent)
        try:
            seen = self._watch(child, report, token, limits)
        finally:
            os.close(report)
            os.close(report_end)
            status, peak_mb = end_everything(child)
            remove_folder(folder)
        return seen if "outcome" in seen else seen | describe_death(status, peak_mb, limits)

    def _watch(self, child: int, report: int, token: bytes, limits: Limits) -> dict[str, Any]:
        """Wait for the report, the child's end, the time limit or the coordinator's end, whichever comes first.

        No outcome in the answer: the child ended without a report.
        """
        started = 0.0
        deadline = time.monotonic() + SETUP_LIMIT_S
        received = b""
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            watched: list[int | socket.socket] = [report, self._wakeup, self._control]
            readable = select.select(watched, [], [], left_s)[0]
            now = time.monotonic()
            ended = has_ended(child)  # before the report is read: what it wrote is then there to be read
            drain(self._wakeup)
            received += drain(report)
            if received.startswith(BROKEN):
                raise Broken(received[len(BROKEN) :].decode(errors="replace"))
            if received and not started:
                started, deadline = now, now + limits.timeout_s
            if len(received) > len(READY):
                return read_report(received, token) | {"wall_s": now - started}
            if self._control in readable:
                raise ConnectionResetError
            if ended and started:
                return {"wall_s": now - started}
            if ended or (now >= deadline and not started):
                raise Broken("a program could not be started")
            if now >= deadline:
                charged = charged_s(child, now - started)
                if charged >= limits.timeout_s:
                    detail = f"no end after {limits.timeout_s:g} s"
                    return {"outcome": "TIMED_OUT", "detail": detail, "wall_s": now - started}
                deadline = now + max(limits.timeout_s - charged, LEAST_WAIT_S)
                write_frame(self._control, STILL_RUNNING)


def read_report(received: bytes, token: bytes) -> dict[str, Any]:
    """The outcome in a child's report; TAMPERED when the program wrote to the pipe itself."""
    tampered = {"outcome": "TAMPERED", "detail": "the program wrote to the judge's pipe"}
    message = received[len(READY) :]
    outcome, _, detail = message[len(token) :].partition(b"\n")
    if not message.startswith(token) or outcome not in OUTCOMES:
        return tampered
    return {"outcome": outcome.decode(), "detail": detail.decode(errors="replace")}


def describe_death(status: int, peak_mb: float, limits: Limits) -> dict[str, str]:
    """The outcome of a child that ended without a report, from its wait status and peak resident memory."""
    if not os.WIFSIGNALED(status):
        return {"outcome": "CRASHED", "detail": f"ended without a word, exit code {os.waitstatus_to_exitcode(status)}"}
    name = signal.Signals(os.WTERMSIG(status)).name
    if os.WTERMSIG(status) == signal.SIGXCPU:
        return {"outcome": "TIMED_OUT", "detail": f"{name}: CPU time limit"}
    if peak_mb >= MEMORY_SHARE * limits.memory_mb:
        return {"outcome": "OUT_OF_MEMORY", "detail": f"{name} at {peak_mb:.0f} of {limits.memory_mb} MB"}
    return {"outcome": "CRASHED", "detail": name}


def has_ended(child: int) -> bool:
    """Whether the child is a zombie; it stays one, so its id cannot be given to another process."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end_everything(child: int) -> tuple[int, float]:
    """Kill the child, its group and every process it left; give its wait status and peak memory in MB.

    Whatever a program detached has become our child by now, since we inherit orphans.
    """
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status, usage.ru_maxrss * 1024 / MB
        if pid == 0:
            kill_children()
            select.select([], [], [], 0.002)


def kill_children() -> None:
    """Kill our direct children; theirs become ours."""
    me = os.getpid()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended meanwhile
                after_name = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                if int(after_name[1]) == me:
                    os.kill(int(entry.name), signal.SIGKILL)


def remove_folder(folder: str) -> None:
    """Remove a program's folder, whatever modes it gave to what is in it. Follows no link."""
    try:
        os.rmdir(folder)  # noqa: PTH106 (nearly always empty)
    except FileNotFoundError:
        return
    except OSError:
        for root, names, _ in os.walk(folder):
            for name in names:
                path = Path(root, name)
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)


def drain(descriptor: int) -> bytes:
    """What a non-blocking pipe holds, at most one read of it."""
    try:
        return os.read(descriptor, 4096)
    except BlockingIOError:
        return b""


def read_frame(control: socket.socket) -> dict[str, Any] | None:
    """The next message, or None when the other end is closed."""
    header = control.recv(LENGTH.size, socket.MSG_WAITALL)
    if len(header) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(header)
    body = control.recv(length, socket.MSG_WAITALL)
    return json.loads(body) if len(body) == length else None


def write_frame(control: socket.socket, message: dict[str, Any]) -> None:
    body = json.dumps(message).encode()
    control.sendall(LENGTH.pack(len(body)) + body)
