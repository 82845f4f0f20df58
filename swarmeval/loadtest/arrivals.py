"""When requests are meant to begin: at once when another has ended (closed loop), or at times of their own (open loop).

Pure. In an open loop the times do not depend on how the server fares, and latency counts from them: a server that
falls behind is charged for the wait of those who would have come meanwhile (no coordinated omission).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

PER_SECOND = "/s"  # ends the name of an open loop, and of no closed one


@dataclass(frozen=True, slots=True)
class Closed:
    """So many clients, each asking again when it has its answer."""

    concurrency: int

    def __str__(self) -> str:
        return f"{self.concurrency} at once"


@dataclass(frozen=True, slots=True)
class Open:
    """Poisson arrivals: so many a second in the mean, at most `most` answers in the air (None: any number)."""

    rate: float
    most: int | None = None

    def __str__(self) -> str:
        return f"{self.rate:g}{PER_SECOND}"


Pattern = Closed | Open


@dataclass(frozen=True, slots=True)
class Level:
    """One level of load: what comes, for how long, and how much of its beginning does not count."""

    pattern: Pattern
    seconds: float | None = None  # requests begin within; the count may end it before
    count: int | None = None  # requests, warm-up included
    warmup_s: float = 0.0

    def __post_init__(self) -> None:
        if self.seconds is None and self.count is None:
            raise ValueError("a level of load needs an end: seconds or a count")


def poisson(rate: float, seed: int) -> Iterator[float]:
    """Seconds from the begin to each arrival, without end; the same for the same seed."""
    draw = random.Random(seed)
    at = 0.0
    while True:
        at += draw.expovariate(rate)
        yield at
