"""Load patterns: closed loop (each client sends its next request after an answer) and open loop (Poisson arrivals).

Open-loop arrival times do not depend on the server, and latency counts from them. If the server falls behind, the
waiting time of queued arrivals is therefore included (no coordinated omission). Sends no requests itself.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

PER_SECOND = "/s"  # suffix of an open loop's name; a closed loop's name never ends with it


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed loop: `concurrency` clients, each sending its next request once it has an answer."""

    concurrency: int

    def __str__(self) -> str:
        return f"{self.concurrency} at once"


@dataclass(frozen=True, slots=True)
class Open:
    """An open loop: Poisson arrivals, `rate` per second on average, at most `most` in flight (None: no limit)."""

    rate: float
    most: int | None = None

    def __str__(self) -> str:
        return f"{self.rate:g}{PER_SECOND}"


Pattern = Closed | Open


@dataclass(frozen=True, slots=True)
class Level:
    """One level of load: its pattern, its length, and the warm-up that does not count."""

    pattern: Pattern
    seconds: float | None = None  # no request starts later; `count` may end the level earlier
    count: int | None = None  # requests, including the warm-up
    warmup_s: float = 0.0

    def __post_init__(self) -> None:
        if self.seconds is None and self.count is None:
            raise ValueError("a level of load needs an end: seconds or a count")


def poisson(rate: float, seed: int) -> Iterator[float]:
    """Yield arrival times of an endless Poisson process, in seconds from its start. The seed determines them."""
    draw = random.Random(seed)
    at = 0.0
    while True:
        at += draw.expovariate(rate)
        yield at
