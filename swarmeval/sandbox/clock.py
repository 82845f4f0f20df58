"""Measures the time that is charged to a program, from Linux's clocks and /proc."""

import os
import time

CPUCLOCK_SCHED = 2  # CPU clock of all threads of a process: see linux/posix-timers.h


def charged_s(pid: int, wall_s: float, proc: int | None = None) -> float:
    """The part of the `wall_s` since its start that is charged to a program.

    That is the CPU time of all its threads or, if its first thread is asleep now, the wall time minus the time that
    this thread waited for a free core. A sleeping program is thus charged, a starved one is not. If /proc has no entry
    of the process, all of its time is charged. `proc`: a descriptor of the /proc to read, by default the machine's. The
    process may be a zombie.
    """
    computed = computed_s(pid)
    try:
        state = read(pid, "stat", proc).rpartition(b")")[2].split()[0]
        if state == b"R":  # running or waiting for a core; the kernel reports the wait only after it has ended
            return computed
    except (OSError, ValueError, IndexError):
        return max(computed, wall_s)
    return max(computed, wall_s - waited_s(pid, proc))


def waited_s(pid: int, proc: int | None = None) -> float:
    """Time that the first thread of a process waited for a free core; 0 if the kernel does not report it."""
    try:
        return int(read(pid, "schedstat", proc).split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def computed_s(pid: int) -> float:
    """CPU time of all threads of a process; 0 after its end."""
    try:
        return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
    except OSError:
        return 0.0


def read(pid: int, name: str, proc: int | None) -> bytes:
    """Read a file in the folder of a process in /proc."""
    path = f"/proc/{pid}/{name}" if proc is None else f"{pid}/{name}"
    descriptor = os.open(path, os.O_RDONLY, dir_fd=proc)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
