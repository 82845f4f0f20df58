"""What Ctrl-C and its kin do to a session: once drains, twice stops; a terminal that closes or a SIGTERM stops."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

log = logging.getLogger("swarmeval")


@contextmanager
def drain_on_interrupt(drain: Callable[[], None]) -> Iterator[None]:
    """Handle signals while the block runs in the current task: drain() at first, its cancellation after."""
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

    handlers: dict[signal.Signals, Callable[[], object]] = {
        signal.SIGINT: interrupt,
        signal.SIGTERM: task.cancel,
        signal.SIGHUP: task.cancel,
    }
    with handling_signals(handlers):
        yield


@contextmanager
def handling_signals(handlers: Mapping[signal.Signals, Callable[[], object]]) -> Iterator[None]:
    """Act on these signals while the block runs; what the user had ignored (nohup, a job behind) stays ignored."""
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
    """Ctrl-C does nothing while the block runs: its work is done, and must not be reported as interrupted.

    Outside the main thread nothing can be changed, and no Ctrl-C comes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
