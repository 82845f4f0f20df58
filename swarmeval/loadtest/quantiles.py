"""Percentiles of latencies with distribution-free confidence intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

QUANTILES = (50, 90, 95, 99, 99.9)
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and the bounds of its 95 % interval. A bound is None if the sample is too small for it."""

    value: float
    low: float | None
    high: float | None


def quantile(ordered: Sequence[float], q: float) -> Estimate:
    """The q-th percentile (0..100) of ascending values, interpolated linearly.

    The bounds are order statistics: the number of values below the true percentile is binomial for any distribution
    (David & Nagaraja 2003, Order Statistics, section 7.1). For independent values their coverage is at least 95 %.
    Requests that shared a server are not quite independent, so their true interval is wider.
    Raises ValueError if fewer than one value is expected beyond the percentile.
    """
    from scipy.stats import binom

    count, share = len(ordered), q / 100
    fewest = round(1 / min(share, 1 - share))
    if count < fewest:
        raise ValueError(f"p{q:g} needs at least {fewest:,} values; there are {count:,}")
    tail = (1 - CONFIDENCE) / 2
    low, high = int(binom.ppf(tail, count, share)), int(binom.ppf(1 - tail, count, share)) + 1
    return Estimate(
        float(np.percentile(ordered, q)),
        ordered[low - 1] if low >= 1 else None,
        ordered[high - 1] if high <= count else None,
    )


def quantiles(values: Sequence[float]) -> tuple[dict[str, Mapping[str, float | None] | None], dict[str, str]]:
    """QUANTILES of the values, {"p50": {value, low, high} or None, ...}, and the reasons for missing ones."""
    ordered = sorted(values)
    percentiles: dict[str, Mapping[str, float | None] | None] = {}
    reasons: dict[str, str] = {}
    for q in QUANTILES:
        name = f"p{q:g}"
        try:
            one = quantile(ordered, q)
        except ValueError as undefined:
            percentiles[name], reasons[name] = None, str(undefined)
            continue
        percentiles[name] = {"value": one.value, "low": one.low, "high": one.high}
        if one.low is None or one.high is None:
            missing = (
                "bounds"
                if one.low is None and one.high is None
                else "lower bound"
                if one.low is None
                else "upper bound"
            )
            reasons[f"{name}.interval"] = f"{len(ordered):,} values are too few for the {missing} of its interval"
    return percentiles, reasons
