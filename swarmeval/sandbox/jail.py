"""The forking process: one confined child per order, watched, ended and cleaned up after.

An order is {"kind", "timeout_s", "memory_mb"} with the child's descriptors beside it: its channel and, for two children
that speak to each other, its peer. What the child is to do comes through the channel, which only the child reads, so
that nothing of one program or its tests is ever in the memory that the next one inherits. The answer is {"end",
"status", "peak_mb", "cpu_s", "wall_s"}, or {"broken": reason}; while others starve the child, {"running"} comes before
that. To {"stop"} the child ends, with {"go on"} its time begins anew.
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
BACKSTOP = 60  # times its limit that a child may take at most, however others starve it
PATIENCE = 6  # times its limit that a process of tests may take, which waits for programs
TRACEBACK_S = 0.05  # for a child at its limit to say where it is
DUMP_TRACEBACK = signal.SIGUSR2


class Jail:
    """Runs one child at a time, until the other end of its link closes."""

    def __init__(self, link: socket.socket, guard: Guard, folder: str) -> None:
        """`folder`: where children's own folders are made."""
        self._link = link
        self._guard = guard
        self._folder = folder
        self._mode = Path(folder).stat().st_mode
        self._is_first = os.getpid() == 1  # of its namespace: all others in it are children's
        if not self._is_first:
            prctl(PR_SET_CHILD_SUBREAPER, 1)  # what a child detaches becomes ours
        faulthandler.register(DUMP_TRACEBACK, file=CHANNEL, all_threads=False)  # in a child CHANNEL is its channel

    def serve(self) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "swarmeval"]:
            del sys.modules[name]  # what a child can import is Python's own
        while (request := read_frame(self._link)) is not None:
            message, descriptors = request
            if "kind" not in message:  # for a child that has ended
                continue
            try:
                answer = self._run(message, descriptors)
            except OSError as error:
                answer = {"broken": str(error)}
            write_frame(self._link, answer)

    def _run(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """Fork, watch and clean up after one child."""
        limits = ProcessLimits(request["timeout_s"], request["memory_mb"], bounds_cpu=request["kind"] != "run_tests")
        folder = Path(self._folder, os.urandom(8).hex())
        parent = os.getpid()
        try:
            folder.mkdir(0o700)
            self._guard.before_fork(str(folder), limits)
            child = os.fork()
            if child == 0:
                become_child(self._guard, request["kind"], str(folder), descriptors, parent)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        try:
            end, wall_s = self._watch(child, limits, request["kind"])
        finally:
            status, used = self._end_everything(child)
            if not self._guard.start_over():
                clear(Path(self._folder), self._mode)  # whatever it wrote where: nothing reaches the next one
        return {
            "end": end,
            "status": status,
            "peak_mb": used.ru_maxrss * 1024 / MB,
            "cpu_s": used.ru_utime + used.ru_stime,
            "wall_s": wall_s,
        }

    def _watch(self, child: int, limits: ProcessLimits, kind: str) -> tuple[str, float]:
        """Wait until the child has "ended", came to its "limit", or is "stopped" by whoever started it.

        Two that talk sleep while they wait for each other, who may be starved. What each computes is limited here; of
        a program's sleep the warden decides, which hears of both.
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
                        raise SystemExit  # nobody waits for the answer
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
                # Not foreseeable: one that sleeps is charged when it is seen asleep, and would be awake for each look.
                left_s = max(limits.timeout_s - (asleep if kind == "serve_calls" else charged), LEAST_WAIT_S)
                deadline = now + left_s * random.SystemRandom().uniform(0.3, 1)
                write_frame(self._link, {"running": True, "charged_s": asleep})
        finally:
            os.close(handle)

    def _charged_s(self, child: int, wall_s: float, computed: float, kind: str) -> float:
        """What the child answers for of the time since it began, or last began anew having `computed` so much."""
        if self._guard.lets_fork():
            return wall_s  # what a crowd of processes takes of a core is nobody's alone
        if kind == "run_tests":
            return max(computed_s(child) - computed, wall_s / PATIENCE)
        own_s = computed_s(child) if kind == "serve_calls" else charged_s(child, wall_s, self._guard.proc)
        return max(own_s, wall_s / BACKSTOP)

    def _end_everything(self, child: int) -> tuple[int, resource.struct_rusage]:
        """Kill the child and every process it left; give its wait status and what it used.

        Whatever a program detached is our child by now: we are the first process here, or inherit orphans.
        """
        with contextlib.suppress(ProcessLookupError):
            if self._is_first:
                os.kill(-1, signal.SIGKILL)
            else:
                os.kill(child, signal.SIGKILL)
                os.killpg(child, signal.SIGKILL)
        _, status, usage = os.wait4(child, 0)
        while True:
            try:
                pid, _ = os.waitpid(-1, 0 if self._is_first else os.WNOHANG)
            except ChildProcessError:
                return status, usage
            if pid == 0:
                kill_children()
                select.select([], [], [], 0.002)


def dump_traceback(child: int, handle: int) -> None:
    """Have a child at its limit say where it is."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, DUMP_TRACEBACK)
    select.select([handle], [], [], TRACEBACK_S)


def kill_children() -> None:
    """Kill our direct children; theirs become ours."""
    me = os.getpid()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended meanwhile
                after_name = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                if int(after_name[1]) == me:
                    os.kill(int(entry.name), signal.SIGKILL)


def clear(folder: Path, mode: int) -> None:
    """Empty a folder and give it its mode back, however deep, long and forbidding what a program left in it is.

    Folders move to the top before they are emptied, so no path is ever longer than two names. Follows no link.
    """
    if folder.stat().st_mode != mode:
        folder.chmod(stat.S_IMODE(mode))
    waiting = list(folder.iterdir())
    while waiting:
        path = waiting.pop()
        try:
            path.rmdir()  # nearly always an empty folder
        except NotADirectoryError:
            path.unlink()
        except OSError:
            path.chmod(0o700)  # a link would be no directory
            for entry in list(os.scandir(path)):  # which knows what is a folder without asking again
                if entry.is_dir(follow_symlinks=False):
                    inner = Path(entry.path)
                    inner.chmod(0o700)  # else it cannot be moved
                    waiting.append(inner.rename(folder / os.urandom(8).hex()))
                else:
                    Path(entry.path).unlink()
            waiting.append(path)
