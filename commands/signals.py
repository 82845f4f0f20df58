"""What Ctrl-C and its kin do to a session: once drains, twice stops; a terminal that closes or a SIGTERM stops."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger("swarmeval")


@contextmanager
def handled(drain: Callable[[], None]) -> Iterator[None]:
    """Handle signals while the block runs in the current task: drain() at first, its cancellation after."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    pressed = 0

    def interrupt() -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            task.cancel()
            return
        log.warning("interrupted: finishing what has begun; Ctrl-C again stops at once")
        drain()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
