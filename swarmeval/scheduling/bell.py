"""Wakes all tasks that wait for a change of state."""

import asyncio


class Bell:
    """ring() wakes all tasks in wait(). Check the state before waiting: earlier rings are not remembered."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()
        self._event.clear()

    async def wait(self) -> None:
        await self._event.wait()
