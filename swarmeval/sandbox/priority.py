"""Lowers the scheduling priority of workers, and of judges beside replicas on the same cores."""

import os
import time
from pathlib import Path

LOWEST = 19
AUTOGROUP = Path(
    "/proc/self/autogroup"
)  # with autogroups the kernel schedules by session, and nice only counts within one
AUTOGROUP_TRIES = 10  # the kernel accepts one change per 0.1 s, from all users together


def yield_to_all() -> None:
    """Give this process, its children and its session the lowest priority. The session must be its own."""
    step_back(LOWEST)


def step_back(by: int) -> None:
    """Increase the niceness of this process, its children and its session. The session must be its own."""
    now = os.nice(by)
    for _ in range(AUTOGROUP_TRIES):
        try:
            AUTOGROUP.write_text(str(now))
            return
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:  # this kernel has no autogroups
            return
