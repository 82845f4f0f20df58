"""Forks one confined child per order, monitors it, ends it and cleans up after it.

An order is {"kind", "timeout_s", "memory_mb"}, sent with the child's descriptors: its channel and, if two children talk
to each other, its peer. Only the child reads its work from the channel. Therefore no program or test is ever in the
memory that the next child inherits. The answer is {"end", "status", "peak_mb", "cpu_s", "wall_s"} or
{"broken": reason}. While other processes starve the child, {"running"} messages precede it. {"stop"} ends the child,
{"restart clock"} gives it its full time again.
"""

import contextlib
import faulthandler
import os
import random
import resource
import select
import signal
import socket
import stat
import sys
import time
from pathlib import Path
from typing import Any

from swarmeval.sandbox.child import CHANNEL, become_child
from swarmeval.sandbox.clock import charged_s, computed_s, waited_s
from swarmeval.sandbox.frames import read_frame, write_frame
from swarmeval.sandbox.layers.guard import MB, Guard, ProcessLimits
from swarmeval.sandbox.layers.kernel import PR_SET_CHILD_SUBREAPER, prctl

LEAST_WAIT_S = 0.05
BACKSTOP = 60  # wall time of a starved child, as a multiple of its limit
PATIENCE = 6  # wall time of a test process, which waits for programs, as a multiple of its limit
TRACEBACK_S = 0.05  # for a child at its limit to write its traceback
DUMP_TRACEBACK = signal.SIGUSR2


class Jail:
    """Runs one child at a time until the other end of its link closes."""

    def __init__(self, link: socket.socket, guard: Guard, folder: str) -> None:
        """`folder`: the parent folder of the children's own folders."""
        self._link = link
        self._guard = guard
        self._folder = folder
        self._mode = Path(folder).stat().st_mode
        self._is_first = os.getpid() == 1  # of its PID namespace: all other processes in it belong to children
        if not self._is_first:
            prctl(PR_SET_CHILD_SUBREAPER, 1)  # detached processes of a child become our children
        faulthandler.register(DUMP_TRACEBACK, file=CHANNEL, all_threads=False)  # in a child, CHANNEL is its own channel

    def serve(self) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "swarmeval"]:
            del sys.modules[name]  # children can only import Python's own modules
        while (request := read_frame(self._link)) is not None:
            message, descriptors = request
            if "kind" not in message:  # meant for a child that has already ended
                continue
            try:
                answer = self._run(message, descriptors)
            except OSError as error:
                answer = {"broken": str(error)}
            write_frame(self._link, answer)

    def _run(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """Fork, watch and clean up after one child."""
        limits = ProcessLimits(request["timeout_s"], request["memory_mb"], bounds_cpu=request["kind"] != "run_tests")
        folder = f"{self._folder}/{os.urandom(8).hex()}"
        parent = os.getpid()
        try:
            os.mkdir(folder, 0o700)  # noqa: PTH102 (paths of pathlib cost 20 µs here)
            self._guard.before_fork(folder, limits)
            child = os.fork()
            if child == 0:
                become_child(self._guard, request["kind"], folder, descriptors, parent)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        try:
            end, wall_s = self._watch(child, limits, request["kind"])
        finally:
            status, used = end_everything(child, self._is_first)
            if not self._guard.start_over():
                clear(Path(self._folder), self._mode)  # no file may reach the next child
        return {
            "end": end,
            "status": status,
            "peak_mb": used.ru_maxrss * 1024 / MB,
            "cpu_s": used.ru_utime + used.ru_stime,
            "wall_s": wall_s,
        }

    def _watch(self, child: int, limits: ProcessLimits, kind: str) -> tuple[str, float]:
        """Wait until the child has "ended", has reached its "limit", or is "stopped" by the warden.

        Two children that talk sleep while they wait for each other, and either may be starved. This method limits the
        CPU time of each. The warden, which monitors both, limits the time that a program sleeps.
        """
        started, computed, waited = time.monotonic(), 0.0, 0.0
        deadline = started + limits.timeout_s
        handle = os.pidfd_open(child)
        try:
            while True:
                left_s = max(0.0, deadline - time.monotonic())
                watched: list[int | socket.socket] = [handle, self._link]
                readable = select.select(watched, [], [], left_s)[0]
                now = time.monotonic()
                if handle in readable:
                    return "ended", now - started
                if self._link in readable:
                    message = read_frame(self._link)
                    if message is None:
                        raise SystemExit  # the warden is gone
                    if "stop" in message[0]:
                        return "stopped", now - started
                    if "limit" in message[0]:
                        dump_traceback(child, handle)
                        return "limit", now - started
                    if "report waiting" in message[0]:
                        write_frame(self._link, {"waited_s": waited_s(child, self._guard.proc) - waited})
                        continue
                    started, computed, deadline = now, computed_s(child), now + limits.timeout_s
                    waited = waited_s(child, self._guard.proc)
                    continue
                charged = self._charged_s(child, now - started, computed, kind)
                if charged >= limits.timeout_s:
                    dump_traceback(child, handle)
                    return "limit", now - started
                asleep = charged_s(child, now - started, self._guard.proc)
                # Random, so that a program cannot be awake at each check: sleep is only charged if it is seen.
                left_s = max(limits.timeout_s - (asleep if kind == "serve_calls" else charged), LEAST_WAIT_S)
                deadline = now + left_s * random.SystemRandom().uniform(0.3, 1)
                write_frame(self._link, {"running": True, "charged_s": asleep})
        finally:
            os.close(handle)

    def _charged_s(self, child: int, wall_s: float, computed: float, kind: str) -> float:
        """The time charged to the child since its clock started, at which it had `computed` this much CPU time."""
        if self._guard.lets_fork():
            return wall_s  # CPU time cannot be attributed to one of several processes
        if kind == "run_tests":
            return max(computed_s(child) - computed, wall_s / PATIENCE)
        own_s = computed_s(child) if kind == "serve_calls" else charged_s(child, wall_s, self._guard.proc)
        return max(own_s, wall_s / BACKSTOP)


def end_everything(child: int, is_first: bool) -> tuple[int, resource.struct_rusage]:
    """Kill a child and all its descendants; return its wait status and resource usage.

    Detached processes are our children by now, because this process is a subreaper or the first of its namespace.
    """
    with contextlib.suppress(ProcessLookupError):
        if is_first:
            os.kill(-1, signal.SIGKILL)
        else:
            os.kill(child, signal.SIGKILL)
            os.killpg(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    while True:
        try:
            pid, _ = os.waitpid(-1, 0 if is_first else os.WNOHANG)
        except ChildProcessError:
            return status, usage
        if pid == 0:
            kill_children()
            select.select([], [], [], 0.002)


def dump_traceback(child: int, handle: int) -> None:
    """Make a child at its limit write its traceback."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, DUMP_TRACEBACK)
    select.select([handle], [], [], TRACEBACK_S)


def kill_children() -> None:
    """Kill our direct children; their children become ours."""
    me = os.getpid()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended in the meantime
                after_name = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                if int(after_name[1]) == me:
                    os.kill(int(entry.name), signal.SIGKILL)


def clear(folder: Path, mode: int) -> None:
    """Empty a folder and restore its mode, even if its contents are deeply nested or have no permissions.

    Subfolders move to the top before they are emptied, so that paths stay short. Follows no links.
    """
    if folder.stat().st_mode != mode:
        folder.chmod(stat.S_IMODE(mode))
    waiting = list(folder.iterdir())
    while waiting:
        path = waiting.pop()
        try:
            path.rmdir()  # usually an empty folder
        except NotADirectoryError:
            path.unlink()
        except OSError:
            path.chmod(0o700)  # not a link: rmdir would have raised NotADirectoryError
            for entry in list(os.scandir(path)):  # scandir knows the types without another system call
                if entry.is_dir(follow_symlinks=False):
                    inner = Path(entry.path)
                    inner.chmod(0o700)  # required to move it
                    waiting.append(inner.rename(folder / os.urandom(8).hex()))
                else:
                    Path(entry.path).unlink()
            waiting.append(path)
