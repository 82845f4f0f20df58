"""A queue in which clients take turns, however much each of them has asked for. Does not know what a turn is for."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class FairQueue:
    """Gives up to `turns` turns at once. Clients that wait get them in rotation, each client's in order."""

    def __init__(self, turns: int) -> None:
        self._free = turns  # if there are any, no one waits
        # The next client first, each with its waiting turns in order. No client without any has an entry.
        self._waiting: OrderedDict[str, OrderedDict[asyncio.Future[None], None]] = OrderedDict()

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    def waiting_of(self, client: str) -> int:
        return len(self._waiting.get(client, ()))

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncGenerator[None, None]:
        """Wait for a turn and keep it inside the block. A cancelled wait costs nothing."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(client)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, client: str) -> None:
        given = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, OrderedDict())[given] = None
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self._pass_on()  # it was given at the same moment
            else:
                self._drop(client, given)
            raise

    def _pass_on(self) -> None:
        """Give a turn to the next client that still waits."""
        while self._waiting:
            client = next(iter(self._waiting))
            next_one = next(iter(self._waiting[client]))
            self._waiting.move_to_end(client)  # behind all others
            self._drop(client, next_one)
            if not next_one.done():
                next_one.set_result(None)
                return
        self._free += 1

    def _drop(self, client: str, given: asyncio.Future[None]) -> None:
        """Forget a turn that no longer waits; _pass_on may have done so already."""
        of_client = self._waiting.get(client, OrderedDict())
        of_client.pop(given, None)
        if not of_client:
            self._waiting.pop(client, None)
