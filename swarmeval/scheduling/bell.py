"""A bell that wakes all who wait for news."""

import asyncio


class Bell:
    """Wakes everyone who waits; who waits has checked before that there is nothing to do."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()
        self._event.clear()

    async def wait(self) -> None:
        await self._event.wait()
