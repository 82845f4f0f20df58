"""Detection of client disconnects, which cancels the work for that client."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from fastapi import Response
from starlette.types import Receive, Scope, Send

Result = TypeVar("Result")

HUNG_UP = 499  # nginx's status for a client that closed the connection; appears in metrics only


class EventStream(Response):
    """A response of server-sent events that stops generating when the client disconnects."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], ended: Callable[[int], None]) -> None:
        """`ended` is called with the final status."""
        super().__init__(headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self._events = events
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        self._ended(200 if await while_connected(receive, self._all(send)) else HUNG_UP)

    async def _all(self, send: Send) -> bool:
        async with aclosing(self._events) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return True


async def while_connected(receive: Receive, work: Awaitable[Result]) -> Result | None:
    """Return the result of the work; if the client disconnects first, cancel the work and return None."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_hang_up(receive))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
