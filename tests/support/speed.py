"""The cost of a call in CPU time, without what other tests and other processes add."""

import gc
import time
from collections.abc import Callable

TRIES = 3


def cpu_seconds(call: Callable[[], object], limit_s: float) -> float:
    """CPU seconds of a call: the first try within the limit, otherwise the least of a few, since neighbours slow some.

    Objects that other tests left on the heap are frozen; the garbage collector would scan them repeatedly.
    """
    tries: list[float] = []
    gc.freeze()  # without a collection, which takes half a second where other tests have loaded torch
    while not tries or (min(tries) >= limit_s and len(tries) < TRIES):
        started = time.process_time()
        call()
        tries.append(time.process_time() - started)
    gc.unfreeze()
    return min(tries)
