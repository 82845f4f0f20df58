"""The time a program answers for. Knows no limits; Linux's clocks and /proc only."""

import os
import time

CPUCLOCK_SCHED = 2  # of a process, all its threads: see linux/posix-timers.h


def charged_s(pid: int, wall_s: float, proc: int | None = None) -> float:
    """What a program's own doing took of the `wall_s` since it began.

    That is what all its threads computed or, where its first thread sleeps just now, all the time but what that thread
    spent waiting for a free core: a program that sleeps is charged, one that is starved by others is not. `proc` is a
    descriptor of the /proc to look into, else the machine's. Where that says nothing of the process, it is all its
    time. The process may be a zombie.
    """
    computed = computed_s(pid)
    try:
        state = read(pid, "stat", proc).rpartition(b")")[2].split()[0]
        if state == b"R":  # it has a core or wants one; how long it wants one already, the kernel says only afterwards
            return computed
    except (OSError, ValueError, IndexError):
        return max(computed, wall_s)
    return max(computed, wall_s - waited_s(pid, proc))


def waited_s(pid: int, proc: int | None = None) -> float:
    """What a process's first thread spent waiting for a free core; 0 where the kernel does not say."""
    try:
        return int(read(pid, "schedstat", proc).split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def computed_s(pid: int) -> float:
    """What all threads of a process computed; 0 when it has ended."""
    try:
        return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
    except OSError:
        return 0.0


def read(pid: int, name: str, proc: int | None) -> bytes:
    """A file of a process's own folder in /proc."""
    path = f"/proc/{pid}/{name}" if proc is None else f"{pid}/{name}"
    descriptor = os.open(path, os.O_RDONLY, dir_fd=proc)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
