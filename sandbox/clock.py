"""The time a program answers for. Knows no limits; Linux's clocks and /proc only."""

import contextlib
import os
import time

CPUCLOCK_SCHED = 2  # of a process, all its threads: see linux/posix-timers.h


def charged_s(pid: int, wall_s: float, proc: int | None = None) -> float:
    """What a program's own doing took of the `wall_s` since it began.

    That is what all its threads computed or, where more, its time without what its first thread spent waiting for a
    free core: a program that sleeps is charged, one that is starved by others is not. Where /proc (or the one that the
    descriptor `proc` stands for) has no PID/schedstat, it is all its time. The process may be a zombie.
    """
    computed_s = 0.0
    with contextlib.suppress(OSError):  # it ended: then what it waited is all there is to know
        computed_s = time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
    return max(computed_s, wall_s - waited_s(pid, proc))


def waited_s(pid: int, proc: int | None) -> float:
    """What a process's first thread spent waiting for a core."""
    try:
        descriptor = os.open(
            f"{pid}/schedstat" if proc is not None else f"/proc/{pid}/schedstat", os.O_RDONLY, dir_fd=proc
        )
        try:
            return int(os.read(descriptor, 200).split()[1]) / 1e9
        finally:
            os.close(descriptor)
    except (OSError, ValueError, IndexError):
        return 0.0
