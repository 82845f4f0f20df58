"""The forking process: starts one confined child per order, watches it, ends it and cleans up after it.

An order is {"kind", "timeout_s", "memory_mb"} with the child's descriptors attached: its channel and, if it talks to
another child, its peer. Only the child reads its work from the channel. So the memory that later children inherit never
holds anything of a program or its tests. The answer is {"end", "status", "peak_mb", "cpu_s", "wall_s"}, or {"broken":
reason}. {"running"} precedes it if other processes starve the child. While a child runs, {"stop"} ends it and {"limit"}
ends it as if at its limit. {"restart clock"} gives it its whole time again. {"report waiting"} asks for {"waited_s"}.
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
BACKSTOP = 60  # times its limit that a child may take at most, even if other processes starve it
PATIENCE = 6  # times its limit that a process of tests, which waits for programs, may take
TRACEBACK_S = 0.05  # for a child at its limit to write its traceback
DUMP_TRACEBACK = signal.SIGUSR2


class Jail:
    """Runs one child at a time, until the other end of its link closes."""

    def __init__(self, link: socket.socket, guard: Guard, folder: str) -> None:
        """`folder` holds the children's own folders."""
        self._link = link
        self._guard = guard
        self._folder = folder
        self._mode = Path(folder).stat().st_mode
        self._is_first = os.getpid() == 1  # of its namespace, whose other processes all descend from children
        if not self._is_first:
            prctl(PR_SET_CHILD_SUBREAPER, 1)  # processes that a child detaches become our children
        faulthandler.register(DUMP_TRACEBACK, file=CHANNEL, all_threads=False)  # in a child, this is its channel

    def serve(self) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "swarmeval"]:
            del sys.modules[name]  # a child cannot import our modules
        while (request := read_frame(self._link)) is not None:
            message, descriptors = request
            if "kind" not in message:  # meant for a child that has ended
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
                clear(Path(self._folder), self._mode)  # no file of this child reaches the next one
        return {
            "end": end,
            "status": status,
            "peak_mb": used.ru_maxrss * 1024 / MB,
            "cpu_s": used.ru_utime + used.ru_stime,
            "wall_s": wall_s,
        }

    def _watch(self, child: int, limits: ProcessLimits, kind: str) -> tuple[str, float]:
        """Wait until the child has "ended", reached its "limit" or been "stopped"; return which, and after how long.

        Two children that talk sleep while they wait for each other, and the other one may be starved. So only the CPU
        time of each is limited here. The warden receives reports on both and limits a program's sleep.
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
                # Random, so that a program that is charged only when it is seen asleep cannot wake for each check.
                left_s = max(limits.timeout_s - (asleep if kind == "serve_calls" else charged), LEAST_WAIT_S)
                deadline = now + left_s * random.SystemRandom().uniform(0.3, 1)
                write_frame(self._link, {"running": True, "charged_s": asleep})
        finally:
            os.close(handle)

    def _charged_s(self, child: int, wall_s: float, computed: float, kind: str) -> float:
        """Time charged to the child since its clock started, when it had used `computed` CPU seconds."""
        if self._guard.lets_fork():
            return wall_s  # the child's CPU time would not include that of the processes it forks
        if kind == "run_tests":
            return max(computed_s(child) - computed, wall_s / PATIENCE)
        own_s = computed_s(child) if kind == "serve_calls" else charged_s(child, wall_s, self._guard.proc)
        return max(own_s, wall_s / BACKSTOP)

    def _end_everything(self, child: int) -> tuple[int, resource.struct_rusage]:
        """Kill the child and every process it left; return its wait status and resource usage.

        Detached processes are our children by now: we are the first process of the namespace, or a subreaper.
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
    """Make a child at its limit write its traceback to its channel."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, DUMP_TRACEBACK)
    select.select([handle], [], [], TRACEBACK_S)


def kill_children() -> None:
    """Kill this process's direct children; their children become ours."""
    me = os.getpid()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended meanwhile
                after_name = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                if int(after_name[1]) == me:
                    os.kill(int(entry.name), signal.SIGKILL)


def clear(folder: Path, mode: int) -> None:
    """Empty a folder and restore its mode, whatever depth, name lengths and permissions a program left in it.

    Folders move to the top before they are emptied, so that no path is longer than two names. Links are not followed.
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
            path.chmod(0o700)  # not a link: that would have raised NotADirectoryError
            for entry in list(os.scandir(path)):  # entries know their type without a further call
                if entry.is_dir(follow_symlinks=False):
                    inner = Path(entry.path)
                    inner.chmod(0o700)  # otherwise it cannot be moved
                    waiting.append(inner.rename(folder / os.urandom(8).hex()))
                else:
                    Path(entry.path).unlink()
            waiting.append(path)
