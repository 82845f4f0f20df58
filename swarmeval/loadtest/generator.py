"""Load on a server, level after level: who asks when, and what each request took.

Times are this process's own: from the moment a request was meant to begin to the moment its answer was here.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count

from swarmeval.loadtest.arrivals import Closed, Level, Open, poisson

ANY_NUMBER = 1 << 30

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class RequestResult:
    """What came of one request; `error` says why it has no answer."""

    first_at: float | None  # on the clock of the caller of `generate_load`
    last_at: float
    input_tokens: int | None
    output_tokens: int | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """One request under load. Seconds since the level began."""

    number: int
    intended_s: float
    sent_s: float
    first_s: float | None
    last_s: float
    input_tokens: int | None
    output_tokens: int | None
    error: str | None
    counts: bool  # it was meant to begin after the warm-up

    @property
    def latency_s(self) -> float:
        return self.last_s - self.intended_s

    @property
    def ttft_s(self) -> float | None:
        return None if self.first_s is None else self.first_s - self.intended_s

    @property
    def tpot_s(self) -> float | None:
        """Seconds a token after the first."""
        if self.first_s is None or not self.output_tokens or self.output_tokens < 2:
            return None
        return (self.last_s - self.first_s) / (self.output_tokens - 1)


Send = Callable[[int], Awaitable[RequestResult]]  # of the number of a request


async def generate_load(
    level: Level, send: Send, seed: int = 0, clock: Clock = time.perf_counter
) -> AsyncGenerator[Measured, None]:
    """Put this level of load on the server behind `send`; yield each request as it ends.

    Ends when all that began have ended. `send` is called with 0, 1, 2, ... and returns a failure as a result.
    """
    finished: asyncio.Queue[Measured | None] = asyncio.Queue()
    began = clock()

    async def send_one(number: int, intended_s: float) -> None:
        sent_s = clock() - began
        result = await send(number)
        first_s = None if result.first_at is None else result.first_at - began
        finished.put_nowait(
            Measured(
                number, intended_s, sent_s, first_s, result.last_at - began, result.input_tokens, result.output_tokens,
                result.error, intended_s >= level.warmup_s,
            )
        )  # fmt: skip

    async def send_all() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                numbers = _numbers(level)
                if isinstance(level.pattern, Closed):
                    for _ in range(level.pattern.concurrency):
                        group.create_task(_client(numbers, level, send_one, lambda: clock() - began))
                else:
                    await _arrivals(level, level.pattern, numbers, group, send_one, lambda: clock() - began, seed)
        finally:
            finished.put_nowait(None)

    running = asyncio.create_task(send_all())
    try:
        while (measured := await finished.get()) is not None:
            yield measured
        await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _numbers(level: Level) -> Iterator[int]:
    return count() if level.count is None else iter(range(level.count))


SendOne = Callable[[int, float], Awaitable[None]]


async def _client(numbers: Iterator[int], level: Level, send_one: SendOne, now: Clock) -> None:
    """A client of a closed loop: what it asks is meant to begin when it asks."""
    while level.seconds is None or now() < level.seconds:
        number = next(numbers, None)
        if number is None:
            return
        await send_one(number, now())


async def _arrivals(
    level: Level,
    pattern: Open,
    numbers: Iterator[int],
    group: asyncio.TaskGroup,
    send_one: SendOne,
    now: Clock,
    seed: int,
) -> None:
    """Begin each request at its time, or as soon after it as the limit on those in the air allows."""
    in_flight = asyncio.Semaphore(ANY_NUMBER if pattern.most is None else pattern.most)
    for number, intended_s in zip(numbers, poisson(pattern.rate, seed), strict=False):
        if level.seconds is not None and intended_s >= level.seconds:
            return
        await asyncio.sleep(max(0.0, intended_s - now()))
        await in_flight.acquire()
        group.create_task(_arrived(send_one, number, intended_s, in_flight))


async def _arrived(send_one: SendOne, number: int, intended_s: float, in_flight: asyncio.Semaphore) -> None:
    try:
        await send_one(number, intended_s)
    finally:
        in_flight.release()
