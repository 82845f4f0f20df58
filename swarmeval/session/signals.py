"""Signal handling: Ctrl-C once drains a session, twice stops it; SIGTERM and a closed terminal stop it."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

log = logging.getLogger("swarmeval")


@contextmanager
def drain_on_interrupt(drain: Callable[[], None]) -> Iterator[None]:
    """Handle signals in the block: the first Ctrl-C calls drain(), any later signal cancels the current task."""
    task = asyncio.current_task()
    assert task is not None
    pressed = 0

    def interrupt() -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            task.cancel()
            return
        log.warning("interrupted: finishing the running jobs; press Ctrl-C again to stop at once")
        drain()

    handlers: dict[signal.Signals, Callable[[], object]] = {
        signal.SIGINT: interrupt,
        signal.SIGTERM: task.cancel,
        signal.SIGHUP: task.cancel,
    }
    with handling_signals(handlers):
        yield


@contextmanager
def handling_signals(handlers: Mapping[signal.Signals, Callable[[], object]]) -> Iterator[None]:
    """Handle these signals during the block. Signals ignored on entry (nohup, background jobs) stay ignored."""
    loop = asyncio.get_running_loop()
    active = {number: handler for number, handler in handlers.items() if signal.getsignal(number) is not signal.SIG_IGN}
    for number, handler in active.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in active:
            loop.remove_signal_handler(number)


@contextmanager
def ignoring_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C during the block, which follows the end of a finished run.

    Does nothing outside the main thread, which receives no Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
