"""The time a program answers for. Knows no limits; Linux's clocks and /proc only."""

import contextlib
import time
from pathlib import Path

CPUCLOCK_SCHED = 2  # of a process, all its threads: see linux/posix-timers.h


def charged_s(pid: int, wall_s: float) -> float:
    """What a program's own doing took of the `wall_s` since it began.

    That is what all its threads computed or, where more, its time without what its first thread spent waiting for a
    free core: a program that sleeps is charged, one that is starved by others is not. Without /proc/PID/schedstat it is
    all its time. The process may be a zombie.
    """
    computed_s = 0.0
    with contextlib.suppress(OSError):  # it ended: then what it waited is all there is to know
        computed_s = time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
    try:
        waited_s = int(Path(f"/proc/{pid}/schedstat").read_bytes().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        waited_s = 0.0
    return max(computed_s, wall_s - waited_s)
