"""The load generator: sends the requests of one load level at their times and measures each.

All times are taken in this process. Latency counts from the intended start of a request to the arrival of its last
token.
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
    """Result of one request; `error` gives the reason if it has no answer."""

    first_at: float | None  # on the clock passed to `generate_load`
    last_at: float
    input_tokens: int | None
    output_tokens: int | None
    error: str | None = None
    computed_tokens: int | None = None  # output tokens computed for this request alone; None if unknown


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of one request under load. Times are seconds since the start of the level."""

    number: int
    intended_s: float
    sent_s: float
    first_s: float | None
    last_s: float
    input_tokens: int | None
    output_tokens: int | None
    error: str | None
    counts: bool  # False for a request whose intended start lies in the warm-up
    computed_tokens: int | None = None  # output tokens computed for this request alone; None if unknown

    @property
    def latency_s(self) -> float:
        return self.last_s - self.intended_s

    @property
    def ttft_s(self) -> float | None:
        return None if self.first_s is None else self.first_s - self.intended_s

    @property
    def tpot_s(self) -> float | None:
        """Seconds per output token after the first; None if unknown."""
        if self.first_s is None or not self.output_tokens or self.output_tokens < 2:
            return None
        return (self.last_s - self.first_s) / (self.output_tokens - 1)


Send = Callable[[int], Awaitable[RequestResult]]  # takes the request's number


async def generate_load(
    level: Level, send: Send, seed: int = 0, clock: Clock = time.perf_counter
) -> AsyncGenerator[Measured, None]:
    """Send the requests of one level through `send` and yield each measurement when its request ends.

    Finishes when all started requests have ended. `send` is called with 0, 1, 2, ... and must return failures as
    results rather than raise.
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
                result.error, intended_s >= level.warmup_s, result.computed_tokens,
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
    """Run one closed-loop client. The intended start of each request is its actual start."""
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
    """Start each request at its arrival time, or later if the limit on requests in flight is reached."""
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
