"""Exponential backoff for a failing server, and the limit on how long it may keep failing.

All requests to a server share one backoff, because further requests would not help an overloaded server.
"""

import asyncio
import random
import time
from collections.abc import Callable

BACKOFF_S = (0.5, 30.0)  # first and longest pause; each pause is twice the previous one, with jitter
SPREAD = 0.1  # random extension, as a share of the pause, so that waiting requests do not return all at once


class Backoff:
    """The backoff of one server. It may fail for `patience_s` without a complete answer in between."""

    def __init__(
        self,
        patience_s: float,
        backoff_s: tuple[float, float] = BACKOFF_S,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.answers = 0  # complete answers
        self._patience_s = patience_s
        self._first_s, self._longest_s = backoff_s
        self._clock = clock
        self._chance = chance
        self._until = 0.0
        self._pauses = 0  # since the last complete answer
        self._since: float | None = None  # start of the current trouble

    def left_s(self) -> float:
        """Remaining seconds of the current pause."""
        return max(0.0, self._until - self._clock())

    async def wait(self) -> None:
        """Wait for the end of the pause."""
        while (left := self.left_s()) > 0:  # noqa: ASYNC110 (the pause may be extended meanwhile)
            await asyncio.sleep(left * (1 + SPREAD * self._chance()))

    def backoff_s(self, tries: int) -> float:
        """The pause after `tries` failed tries, with jitter."""
        longest: float = min(self._longest_s, self._first_s * 2.0 ** min(tries, 30))
        return longest * (0.5 + 0.5 * self._chance())

    def record_answer(self) -> None:
        """Note a complete answer: the trouble is over."""
        self.answers += 1
        self._pauses, self._since = 0, None

    def reset(self) -> None:
        """Restart the clock of `patience_s`. A pause that the server asked for still applies."""
        self._since = None

    def record_trouble(self, pause: bool, retry_after_s: float | None = None) -> bool:
        """Note a failure. With `pause`, or if the server named a delay, all requests pause.

        Returns False if the trouble has lasted, or would last, longer than `patience_s`.
        """
        now = self._clock()
        self._since = now if self._since is None else self._since
        if retry_after_s is not None:
            self._until = max(self._until, now + retry_after_s)
        elif pause and self._until <= now:  # otherwise another request has started the pause already
            self._until = now + self.backoff_s(self._pauses)
            self._pauses += 1
        return max(now, self._until) - self._since < self._patience_s

    def record_busy(self, retry_after_s: float | None) -> None:
        """Note that the server is full but answers other requests: a pause that does not count as trouble."""
        since = self._since
        self.record_trouble(pause=True, retry_after_s=retry_after_s)
        self._since = since
