"""Percentiles of a stream in constant memory: counts in buckets that grow by a fixed ratio. Keeps no value."""

import math
from array import array

LEAST, MOST = 1e-4, 1e6  # what lies outside is counted in the outermost bucket
RATIO = 1.02  # so that a percentile is off by 1 % at most
BUCKETS = math.ceil(math.log(MOST / LEAST) / math.log(RATIO))


class LogHistogram:
    """How often values of each size came: 9 kB, whatever their number."""

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
        """The value that this share (0..1) of all values do not exceed, within 1 %; None without a value."""
        if not self.count:
            return None
        rank, seen = max(1, math.ceil(share * self.count)), 0
        for place, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return min(max(float(LEAST * RATIO ** (place + 0.5)), self._least), self._most)
        return self._most
