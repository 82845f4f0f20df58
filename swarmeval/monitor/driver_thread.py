"""Calls in a thread of their own, one after another, that may never return: a driver that hangs ends no run."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

PATIENCE_S = 30.0  # with a reading: drivers that wake up take seconds, those that hang take for ever


class DriverThread:
    """A daemon thread: unlike an executor's, the interpreter does not wait for it at exit."""

    def __init__(self, name: str) -> None:
        self._closed = False
        self._calls: queue.SimpleQueue[tuple[Callable[[], object], Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], object]) -> Future[None]:
        """Have it called after those that were submitted before."""
        future: Future[None] = Future()
        self._calls.put((call, future))
        return future

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """Let what was submitted be done; what takes too long is left behind. Idempotent."""
        if not self._closed:
            self._closed = True
            self._calls.put(None)
            self._thread.join(patience_s)

    def _serve(self) -> None:
        while (submitted := self._calls.get()) is not None:
            call, future = submitted
            try:
                call()
            except Exception as error:  # noqa: BLE001 (it is the caller's: the future raises it there)
                future.set_exception(error)
            else:
                future.set_result(None)
