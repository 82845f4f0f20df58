"""How late the event loop is: what it does at once, or what takes its core, shows here. Knows nothing of a run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

EVERY_S = 0.5  # each look wakes the process: what stays below is seen in proportion, what is longer for certain


class LoopLag:
    """A task that sleeps and sees how much later than asked it wakes. Read from any thread."""

    def __init__(self) -> None:
        self.worst_ms = 0.0
        self._recent_ms: float | None = None  # None: no look since take()

    @contextlib.asynccontextmanager
    async def sampled(self) -> AsyncIterator[None]:
        """Look while this context is open."""
        task = asyncio.create_task(self._look())
        try:
            yield
        finally:
            task.cancel()

    def take(self) -> float | None:
        """The longest delay since the last call, in ms; None where nobody looked."""
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
