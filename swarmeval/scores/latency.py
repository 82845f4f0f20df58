"""The shape of a run's latencies: histogram, fitted exponential, straight line, correlations. Pure numbers.

The standard library suffices: every run ends here, and scipy.stats takes 0.5 s to import and 70 MB.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_BINS = 48
FINEST = 200  # bins between 0 and the greatest value, at most
# What the modified statistic of Stephens (1974, table 1A, case 4: exponential, mean estimated) exceeds by chance.
CRITICAL = ((0.926, 0.15), (0.990, 0.10), (1.094, 0.05), (1.190, 0.025), (1.308, 0.01))


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts in bins of one width; the last bin holds its right edge too."""

    start: float
    width: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Exponential:
    """An exponential distribution fitted to values, and how far they are from it."""

    mean: float  # the rate is its inverse
    distance: float  # Kolmogorov-Smirnov: the largest gap between both distribution functions
    p_low: float  # the chance of such a distance, were the values exponential, lies between these two:
    p_high: float  # the table knows it from 0.01 to 0.15 only


@dataclass(frozen=True, slots=True)
class FittedLine:
    """y = intercept + slope x by least squares; r_squared is the share of y's variance that it explains."""

    slope: float
    intercept: float
    r_squared: float


def histogram(values: Sequence[float]) -> Histogram:
    """As many bins as Rice's rule says, from the least to the greatest value; fewer where these would be too narrow to
    see on an axis from 0. Raises ValueError without any.
    """
    if not values:
        raise ValueError("a histogram needs a value")
    low, high = min(values), max(values)
    narrowest = max(abs(low), abs(high)) / FINEST
    bins = min(MOST_BINS, math.ceil(2 * len(values) ** (1 / 3)), int((high - low) / narrowest) if narrowest else 1)
    if bins < 2:
        return Histogram(low, high - low, (len(values),))
    width = (high - low) / bins
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / width))] += 1
    return Histogram(low, width, tuple(counts))


def exponential(values: Sequence[float]) -> Exponential:
    """By maximum likelihood. Raises ValueError where there are not two values, one is negative or all are 0.

    Its mean is estimated from the same values, which makes the usual table of the Kolmogorov-Smirnov distance too
    kind; this is that of Lilliefors' case, as Stephens modified it. The values are taken for independent: latencies of
    jobs that shared a device at the same time are not quite, and their p is lower than it should be.
    """
    if len(values) < 2 or min(values) < 0 or not max(values) > 0:
        raise ValueError("an exponential distribution is fitted to two values or more, none negative, not all 0")
    count, mean, distance = len(values), math.fsum(values) / len(values), 0.0
    for rank, value in enumerate(sorted(values)):
        share = -math.expm1(-value / mean)
        distance = max(distance, share - rank / count, (rank + 1) / count - share)
    low, high = _chance((distance - 0.2 / count) * (math.sqrt(count) + 0.26 + 0.5 / math.sqrt(count)))
    return Exponential(mean, distance, low, high)


def _chance(modified: float) -> tuple[float, float]:
    """Between the two entries of the table that the statistic lies between."""
    high = 1.0
    for critical, chance in CRITICAL:
        if modified < critical:
            return chance, high
        high = chance
    return 0.0, high


def line(xs: Sequence[float], ys: Sequence[float]) -> FittedLine | None:
    """None where all xs or all ys are alike: no line says anything then."""
    r = correlation(xs, ys)
    if r is None:
        return None
    (x_scaled, x_exponent), (y_scaled, y_exponent) = _scaled(xs), _scaled(ys)
    slope, intercept = statistics.linear_regression(x_scaled, y_scaled)
    return FittedLine(math.ldexp(slope, y_exponent - x_exponent), math.ldexp(intercept, y_exponent), r * r)


def correlation(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Pearson's r; None where all xs or all ys are alike, or there are not two."""
    if len(xs) < 2 or _is_constant(xs) or _is_constant(ys):
        return None
    return max(-1.0, min(1.0, statistics.correlation(_scaled(xs)[0], _scaled(ys)[0])))


def correlations(columns: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float | None]]:
    """Each column with each, itself included."""
    return {one: {other: correlation(xs, ys) for other, ys in columns.items()} for one, xs in columns.items()}


def _is_constant(values: Sequence[float]) -> bool:
    """Whether the values differ by rounding alone."""
    mean = statistics.fmean(values)
    return math.dist(values, [mean] * len(values)) <= 1e-12 * max(map(abs, values)) * len(values)


def _scaled(values: Sequence[float]) -> tuple[list[float], int]:
    """(the values divided by 2**exponent, exponent): below 1, so that no square overflows or vanishes, and exact."""
    _, exponent = math.frexp(max(map(abs, values)))
    return [math.ldexp(value, -exponent) for value in values], exponent
