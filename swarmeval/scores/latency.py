"""The distribution of a run's latencies: histogram, exponential fit, regression line, correlations. Pure arithmetic.

Uses the standard library only, because every run needs it and scipy.stats takes 0.5 s and 70 MB to import.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_BINS = 48
FINEST = 200  # upper limit on bins between 0 and the largest value
# (critical value, p) of the modified statistic of Stephens (1974, table 1A, case 4: exponential, mean estimated).
CRITICAL = ((0.926, 0.15), (0.990, 0.10), (1.094, 0.05), (1.190, 0.025), (1.308, 0.01))


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts in bins of equal width. The last bin includes its right edge."""

    start: float
    width: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Exponential:
    """An exponential distribution fitted to values, and the distance of the values from it."""

    mean: float  # the rate is its inverse
    distance: float  # Kolmogorov-Smirnov: the largest gap between the two distribution functions
    p_low: float  # the p-value of the distance lies between p_low and p_high;
    p_high: float  # the table covers only 0.01 to 0.15


@dataclass(frozen=True, slots=True)
class FittedLine:
    """Least-squares line y = intercept + slope x; r_squared is the share of y's variance that it explains."""

    slope: float
    intercept: float
    r_squared: float


def histogram(values: Sequence[float]) -> Histogram:
    """Histogram from the smallest to the largest value, with the number of bins given by Rice's rule.

    Uses fewer bins if they would be too narrow to see on an axis from 0. Raises ValueError without values.
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
    """Fit an exponential distribution by maximum likelihood, and test the fit.

    The mean is estimated from the same values, so the standard Kolmogorov-Smirnov table would be too lenient; this
    uses the table for Lilliefors' case, as modified by Stephens. The test assumes independent values. Latencies of
    jobs that shared a device are correlated, which makes p too low. Raises ValueError with fewer than two values, a
    negative value, or only zeros.
    """
    if len(values) < 2 or min(values) < 0 or not max(values) > 0:
        raise ValueError("an exponential fit needs at least two values, none negative and not all 0")
    count, mean, distance = len(values), math.fsum(values) / len(values), 0.0
    for rank, value in enumerate(sorted(values)):
        share = -math.expm1(-value / mean)
        distance = max(distance, share - rank / count, (rank + 1) / count - share)
    low, high = _chance((distance - 0.2 / count) * (math.sqrt(count) + 0.26 + 0.5 / math.sqrt(count)))
    return Exponential(mean, distance, low, high)


def _chance(modified: float) -> tuple[float, float]:
    """Bounds of the p-value, from the table entries on either side of the statistic."""
    high = 1.0
    for critical, chance in CRITICAL:
        if modified < critical:
            return chance, high
        high = chance
    return 0.0, high


def line(xs: Sequence[float], ys: Sequence[float]) -> FittedLine | None:
    """Fit a least-squares line; None if all xs or all ys are equal."""
    r = correlation(xs, ys)
    if r is None:
        return None
    (x_scaled, x_exponent), (y_scaled, y_exponent) = _scaled(xs), _scaled(ys)
    slope, intercept = statistics.linear_regression(x_scaled, y_scaled)
    return FittedLine(math.ldexp(slope, y_exponent - x_exponent), math.ldexp(intercept, y_exponent), r * r)


def correlation(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Pearson's r; None if all xs or all ys are equal, or there are fewer than two."""
    if len(xs) < 2 or _is_constant(xs) or _is_constant(ys):
        return None
    return max(-1.0, min(1.0, statistics.correlation(_scaled(xs)[0], _scaled(ys)[0])))


def correlations(columns: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float | None]]:
    """Correlation matrix: each column with every column, including itself."""
    return {one: {other: correlation(xs, ys) for other, ys in columns.items()} for one, xs in columns.items()}


def _is_constant(values: Sequence[float]) -> bool:
    """Whether the values are equal up to rounding."""
    mean = statistics.fmean(values)
    return math.dist(values, [mean] * len(values)) <= 1e-12 * max(map(abs, values)) * len(values)


def _scaled(values: Sequence[float]) -> tuple[list[float], int]:
    """(values / 2**exponent, exponent). The scaled values are below 1, so squares cannot overflow; scaling is exact."""
    _, exponent = math.frexp(max(map(abs, values)))
    return [math.ldexp(value, -exponent) for value in values], exponent
