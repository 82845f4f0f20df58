"""Percentiles of a stream in constant memory, from counts in logarithmic buckets."""

import math
from array import array

LEAST, MOST = 1e-4, 1e6  # values outside are counted in the first or last bucket
RATIO = 1.02  # limits the error of a percentile to 1 %
BUCKETS = math.ceil(math.log(MOST / LEAST) / math.log(RATIO))


class LogHistogram:
    """A histogram with logarithmic buckets that takes 9 kB for any number of values."""

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * BUCKETS))
        self.count = 0
        self._least, self._most = math.inf, 0.0

    def add(self, value: float) -> None:
        place = int(math.log(value / LEAST) / math.log(RATIO)) if value > LEAST else 0
        self._counts[min(place, BUCKETS - 1)] += 1
        self.count += 1
        self._least, self._most = min(self._least, value), max(self._most, value)

    def percentile(self, share: float) -> float | None:
        """The value that a share (0..1) of all values do not exceed, within 1 %; None without values."""
        if not self.count:
            return None
        rank, seen = max(1, math.ceil(share * self.count)), 0
        for place, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return min(max(float(LEAST * RATIO ** (place + 0.5)), self._least), self._most)
        return self._most
