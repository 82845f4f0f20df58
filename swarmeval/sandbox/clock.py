"""The time that is charged to a program, from Linux's clocks and /proc. Does not know the limits."""

import os
import time

CPUCLOCK_SCHED = 2  # the clock of a process with all its threads: see linux/posix-timers.h


def charged_s(pid: int, wall_s: float, proc: int | None = None) -> float:
    """The part of `wall_s`, the time since a program began, that counts against its limit.

    If its first thread is awake, this is the CPU time of all its threads. If that thread sleeps, it is the whole time
    except for what the thread spent waiting for a free core. So a program is charged for sleep, but not for time that
    other processes took. `proc` is a descriptor of the /proc to read, by default the machine's. If that has no entry
    for the process, the whole time counts. The process may be a zombie.
    """
    computed = computed_s(pid)
    try:
        state = read(pid, "stat", proc).rpartition(b")")[2].split()[0]
        if state == b"R":  # it has a core or waits for one; the kernel reports a wait only after it ends
            return computed
    except (OSError, ValueError, IndexError):
        return max(computed, wall_s)
    return max(computed, wall_s - waited_s(pid, proc))


def waited_s(pid: int, proc: int | None = None) -> float:
    """Seconds that a process's first thread waited for a free core; 0 if the kernel does not report them."""
    try:
        return int(read(pid, "schedstat", proc).split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def computed_s(pid: int) -> float:
    """CPU seconds of all threads of a process; 0 if it has ended."""
    try:
        return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
    except OSError:
        return 0.0


def read(pid: int, name: str, proc: int | None) -> bytes:
    """The first 4096 bytes of a file in a process's /proc folder."""
    path = f"/proc/{pid}/{name}" if proc is None else f"{pid}/{name}"
    descriptor = os.open(path, os.O_RDONLY, dir_fd=proc)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
