"""Runs driver calls one after another in a separate thread, so that a hanging driver does not block the run."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

PATIENCE_S = 30.0  # timeout of a reading: a driver that wakes up takes seconds, a hanging one never returns


class DriverThread:
    """A daemon thread: unlike an executor's, the interpreter does not wait for it at exit."""

    def __init__(self, name: str) -> None:
        self._closed = False
        self._calls: queue.SimpleQueue[tuple[Callable[[], object], Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], object]) -> Future[None]:
        """Queue a call after those already submitted."""
        future: Future[None] = Future()
        self._calls.put((call, future))
        return future

    def close(self, patience_s: float) -> None:
        """Wait for submitted calls, at most `patience_s`, and stop the thread. Idempotent."""
        if not self._closed:
            self._closed = True
            self._calls.put(None)
            self._thread.join(patience_s)

    def _serve(self) -> None:
        while (submitted := self._calls.get()) is not None:
            call, future = submitted
            try:
                call()
            except Exception as error:  # noqa: BLE001 (the future raises it in the caller)
                future.set_exception(error)
            else:
                future.set_result(None)
