"""A queue in which clients take turns, however much each of them has asked for. Does not know what a turn is for."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class FairQueue:
    """Gives up to `turns` turns at once. Clients that wait get them in rotation, each client's in order."""

    def __init__(self, turns: int) -> None:
        self._free = turns  # if there are any, no one waits
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # the next client first
        self._counts: dict[str, int] = {}  # waiting turns of each client that waits

    @property
    def waiting(self) -> int:
        return sum(self._counts.values())

    def waiting_of(self, client: str) -> int:
        return self._counts.get(client, 0)

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
        self._waiting.setdefault(client, deque()).append(given)
        self._count(client, 1)
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self._pass_on()  # it was given at the same moment
            else:
                self._count(client, -1)
            raise

    def _pass_on(self) -> None:
        """Give a turn to the next client that still waits."""
        while self._waiting:
            client, given = self._waiting.popitem(last=False)
            next_one = given.popleft()
            if given:
                self._waiting[client] = given  # behind all others
            if not next_one.done():
                self._count(client, -1)
                next_one.set_result(None)
                return
        self._free += 1

    def _count(self, client: str, change: int) -> None:
        count = self._counts.get(client, 0) + change
        if count:
            self._counts[client] = count
        else:
            del self._counts[client]
