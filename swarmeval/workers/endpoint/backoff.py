"""When a server that is in trouble may be asked again, and when it has been in trouble for too long.

All who ask it share one backoff: a server that is overloaded is not helped by the next of them trying as well.
"""

import asyncio
import random
import time
from collections.abc import Callable

BACKOFF_S = (0.5, 30.0)  # the first pause, and the longest; each is twice the one before, shortened by chance
SPREAD = 0.1  # of a pause, by which those who wait come back one after the other


class Backoff:
    """`patience_s` is how long trouble may last without a whole answer in between."""

    def __init__(
        self,
        patience_s: float,
        backoff_s: tuple[float, float] = BACKOFF_S,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.answers = 0  # whole ones
        self._patience_s = patience_s
        self._first_s, self._longest_s = backoff_s
        self._clock = clock
        self._chance = chance
        self._until = 0.0
        self._pauses = 0  # since the last whole answer
        self._since: float | None = None  # when the trouble began

    def left_s(self) -> float:
        """Of the pause."""
        return max(0.0, self._until - self._clock())

    async def wait(self) -> None:
        """Return when the server may be asked."""
        while (left := self.left_s()) > 0:  # noqa: ASYNC110 (it may be put off while one waits)
            await asyncio.sleep(left * (1 + SPREAD * self._chance()))

    def backoff_s(self, tries: int) -> float:
        """The pause after so many tries that failed."""
        longest: float = min(self._longest_s, self._first_s * 2.0 ** min(tries, 30))
        return longest * (0.5 + 0.5 * self._chance())

    def record_answer(self) -> None:
        """The server gave a whole answer: it is well."""
        self.answers += 1
        self._pauses, self._since = 0, None

    def reset(self) -> None:
        """The server's trouble so far has had its consequence; a pause it asked for still holds."""
        self._since = None

    def record_trouble(self, pause: bool, retry_after_s: float | None = None) -> bool:
        """The server is in trouble; with `pause`, or where it says for how long, nobody asks it for a while.

        False when that is no use any more: it has lasted for too long, or would.
        """
        now = self._clock()
        self._since = now if self._since is None else self._since
        if retry_after_s is not None:
            self._until = max(self._until, now + retry_after_s)
        elif pause and self._until <= now:  # or another has found out already
            self._until = now + self.backoff_s(self._pauses)
            self._pauses += 1
        return max(now, self._until) - self._since < self._patience_s

    def record_busy(self, retry_after_s: float | None) -> None:
        """The server answers others at this moment and has no room for more: a pause, and no trouble."""
        since = self._since
        self.record_trouble(pause=True, retry_after_s=retry_after_s)
        self._since = since
