"""One API call: runs its choices concurrently on the pool and returns one response or one stream of events."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from swarmeval.errors import WorkerDied
from swarmeval.requests import Piece, Refusal, Reply, Request
from swarmeval.serving.errors import ApiError, BadRequest, InternalError, NotAnswered, Unready
from swarmeval.serving.metrics import ServerMetrics
from swarmeval.serving.pool import Pool
from swarmeval.serving.responses import DONE, ResponseWriter

Item = tuple[int, Piece | Reply]  # index of the choice, and its piece or reply

log = logging.getLogger("swarmeval")


async def all_replies(pool: Pool, requests: Sequence[Request], metrics: ServerMetrics) -> list[Reply]:
    """Return the reply to each request. Raises BadRequest or NotAnswered for a refusal, Unready, InternalError."""
    replies: dict[int, Reply] = {}
    async with aclosing(_items_of_all(pool, requests, metrics)) as items:
        async for index, item in items:
            if isinstance(item, Reply):
                replies[index] = item
    return [replies[index] for index in range(len(requests))]


async def events(
    pool: Pool, requests: Sequence[Request], metrics: ServerMetrics, writer: ResponseWriter, with_usage: bool
) -> AsyncGenerator[bytes, None]:
    """Yield the server-sent events of a streaming call.

    An error before the first event is raised as by all_replies(). A later error becomes the last event.
    """
    sent = [-1] * len(requests)  # characters sent per choice; -1: not opened
    thought = [0] * len(requests)  # characters of thoughts sent per choice
    begun = False
    replies: dict[int, Reply] = {}
    try:
        async with aclosing(_items_of_all(pool, requests, metrics)) as items:
            async for index, item in items:
                chunk = b""
                if sent[index] < 0:
                    sent[index] = 0
                    chunk = writer.opening(index, item)
                if isinstance(item, Piece):
                    chunk += writer.piece(index, item.text, item, item.reasoning)
                    sent[index] += len(item.text)
                    thought[index] += len(item.reasoning)
                    begun = True
                    yield chunk
                    continue
                replies[index] = item
                rest, rest_of_thought = item.text[sent[index] :], item.reasoning[thought[index] :]
                if rest or rest_of_thought:
                    chunk += writer.piece(index, rest, item, rest_of_thought)
                chunk += writer.ending(index, item)
                begun = True
                yield chunk
        last = writer.tokens([replies[index] for index in range(len(requests))]) if with_usage else b""
        yield last + DONE
    except (ApiError, ValueError, OverflowError) as error:  # for example a text or number that JSON cannot represent
        fault = error if isinstance(error, ApiError) else _internal(error)
        if not begun:
            raise fault from None
        yield b"data: " + fault.body() + b"\n\n"


async def _items_of_all(pool: Pool, requests: Sequence[Request], metrics: ServerMetrics) -> AsyncGenerator[Item, None]:
    """Yield the items of all requests as they arrive. Raises the ApiError of the first to fail, cancels the others."""
    queue: asyncio.Queue[Item | asyncio.Task[None]] = asyncio.Queue()  # each request's task follows its last item
    tasks = [asyncio.create_task(_one(pool, index, request, queue)) for index, request in enumerate(requests)]
    for task in tasks:
        task.add_done_callback(queue.put_nowait)
    left = len(tasks)
    try:
        while left:
            item = await queue.get()
            if isinstance(item, asyncio.Task):
                _raise_fault(item)
                left -= 1
                continue
            if isinstance(item[1], Reply):
                metrics.reply(item[1])
            yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _raise_fault(ended: asyncio.Task[None]) -> None:
    """Raise the error that a request ended with: its ApiError, or InternalError for an unexpected exception."""
    error = ended.exception()
    if error is None:
        return
    if isinstance(error, ApiError):
        raise error
    raise _internal(error) from error


def _internal(error: BaseException) -> InternalError:
    """Log an unexpected exception in full; return the error for the client."""
    log.error("a request was not answered", exc_info=error)
    return InternalError()


async def _one(pool: Pool, index: int, request: Request, queue: asyncio.Queue[Item | asyncio.Task[None]]) -> None:
    """Queue the items of one request, its reply last. Raises an ApiError if there is no reply."""
    try:
        async with aclosing(pool.stream(request)) as items:
            async for item in items:
                if isinstance(item, Refusal):
                    raise NotAnswered(item.reason) if item.retry else BadRequest(item.reason)
                queue.put_nowait((index, item))
                if isinstance(item, Reply):
                    return
    except WorkerDied as death:
        raise Unready(f"the replica died while answering ({death})") from death
    raise Unready("the server is shutting down")
