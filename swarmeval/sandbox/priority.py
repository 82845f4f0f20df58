"""How processes of a run yield to others: judges to everything else on the machine, workers as far as they are told."""

import os
import time
from pathlib import Path

LOWEST = 19
AUTOGROUP = Path("/proc/self/autogroup")  # where the kernel shares out time by session; nice counts within one only
AUTOGROUP_TRIES = 10  # the kernel takes one change every 0.1 s, of all users together


def yield_to_all() -> None:
    """Put this process, what it starts and its session, which must be its own, behind all others."""
    step_back(LOWEST)


def step_back(by: int) -> None:
    """Add to the niceness of this process and what it starts; and its session, which must be its own, likewise."""
    now = os.nice(by)
    for _ in range(AUTOGROUP_TRIES):
        try:
            AUTOGROUP.write_text(str(now))
            return
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:  # sessions do not count here
            return
