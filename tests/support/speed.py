"""Limits on CPU time that hold on slow machines too."""

import ast
import time

YARDSTICK = "x = [1, 2, 3]\n" * 20_000
YARDSTICK_S = 0.2  # CPU seconds to parse it on the machine for which the limits of tests were chosen


def scaled(seconds: float) -> float:
    """The limit for this machine, now: its speed changes from day to day, and with its neighbours."""
    started = time.process_time()
    ast.parse(YARDSTICK)
    return seconds * max(1.0, (time.process_time() - started) / YARDSTICK_S)
