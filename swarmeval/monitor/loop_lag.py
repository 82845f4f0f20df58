"""Measures the lag of the event loop, caused by blocking calls or by other processes on its core."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

EVERY_S = 0.5  # every check wakes the process. Longer blocks are always seen, shorter ones in proportion


class LoopLag:
    """A task that sleeps for a fixed time and measures how late it wakes. Can be read from any thread."""

    def __init__(self) -> None:
        self.worst_ms = 0.0
        self._recent_ms: float | None = None  # None: no measurement since take()

    @contextlib.asynccontextmanager
    async def sampled(self) -> AsyncIterator[None]:
        """Measure during this context."""
        task = asyncio.create_task(self._look())
        try:
            yield
        finally:
            task.cancel()

    def take(self) -> float | None:
        """The longest delay since the last call, in ms; None if there was no measurement."""
        recent, self._recent_ms = self._recent_ms, None
        return recent

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + EVERY_S
            await asyncio.sleep(EVERY_S)
            late_ms = 1000 * max(0.0, loop.time() - due)
            self._recent_ms = max(late_ms, self._recent_ms or 0.0)
            self.worst_ms = max(late_ms, self.worst_ms)
