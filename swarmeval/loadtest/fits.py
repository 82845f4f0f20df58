"""Distribution fits of latencies: a test for exponential, and a comparison of exponential, gamma and lognormal.

All three have their origin at 0: with a fitted location, the likelihood would be unbounded. The shifted exponential,
whose origin is the smallest value, has its own test and is not part of the comparison.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST = 10  # values; any distribution fits fewer
DRAWS = 4_999  # simulated samples
LARGEST = 500  # values per simulated sample; Stephens' formula extends the result to larger ones
SEED = 20_230_507
ALIKE = 1e-9  # relative to the largest value: smaller differences are rounding

Array = NDArray[np.float64]


def check_values(values: Sequence[float]) -> None:
    """Raise ValueError if no distribution can be fitted: too few values, a value of 0 or less, or all values equal."""
    if len(values) < FEWEST:
        raise ValueError(f"a distribution fit needs at least {FEWEST} values; there are {len(values)}")
    if min(values) <= 0:
        raise ValueError("a value is 0 or less; gamma and lognormal need positive values")
    if max(values) - min(values) <= ALIKE * max(values):
        raise ValueError("all values are equal; no distribution can be fitted to a constant")


def against_exponential(values: Sequence[float]) -> dict[str, float]:
    """Fit an exponential distribution by its mean; give the Kolmogorov-Smirnov distance and its p value.

    The mean is estimated from the same values, so the standard p value would be far too large (Lilliefors 1969, JASA
    64:387). The distance of an exponential sample from its own fit does not depend on the true mean. Hence p is
    simulated: (1 + simulated distances at least as large) / (1 + draws) (Davison & Hinkley 1997, eq. 4.11).
    Raises ValueError like `check_values`.
    """
    check_values(values)
    return _against_exponential(np.asarray(values, dtype=float))


def against_shifted(values: Sequence[float]) -> dict[str, float]:
    """Like `against_exponential`, for an exponential distribution that starts at the smallest value instead of 0.

    The distances of the other values from the smallest one are again an exponential sample (Sukhatme 1937).
    Raises ValueError like `check_values`.
    """
    check_values(values)
    least, *others = sorted(values)
    return {"shift_s": least, **_against_exponential(np.asarray(others, dtype=float) - least)}


def compare_families(values: Sequence[float]) -> dict[str, Any]:
    """Compare exponential, gamma and lognormal by AIC, each fitted by maximum likelihood with its origin at 0.

    Returns {"best": name, "families": {name: {parameters, "aic", "above_best"}}}. A family 2 above the best still has
    substantial support, one 10 above has essentially none (Burnham & Anderson 2002, section 2.6).
    Raises ValueError like `check_values`.
    """
    from scipy import stats

    check_values(values)
    array = np.asarray(values, dtype=float)
    families: dict[str, dict[str, float]] = {}
    for name, law, places in (
        ("exponential", stats.expon, {"mean_s": -1}),
        ("gamma", stats.gamma, {"shape": 0, "scale_s": -1}),
        ("lognormal", stats.lognorm, {"median_s": -1, "sigma": 0}),
    ):
        fit = law.fit(array, floc=0)  # (shape if the family has one, location, scale)
        likelihood = float(law.logpdf(array, *fit).sum())
        parameters = {key: float(fit[place]) for key, place in places.items()}
        families[name] = {**parameters, "aic": 2 * len(places) - 2 * likelihood}
    best = min(families, key=lambda name: families[name]["aic"])
    return {
        "best": best,
        "families": {
            name: {**family, "above_best": family["aic"] - families[best]["aic"]} for name, family in families.items()
        },
    }


def _against_exponential(values: Array) -> dict[str, float]:
    from scipy import stats

    mean = float(values.mean())
    distance = float(stats.ks_1samp(values, stats.expon.cdf, args=(0, mean), method="asymp").statistic)
    return {"mean_s": mean, "distance": distance, "p": _p(distance, len(values))}


def _p(distance: float, count: int) -> float:
    size = min(count, LARGEST)
    if count > size:  # Stephens 1974, table 1A, case 4: modified distances have the same distribution at every size
        modified = (distance - 0.2 / count) * (math.sqrt(count) + 0.26 + 0.5 / math.sqrt(count))
        distance = modified / (math.sqrt(size) + 0.26 + 0.5 / math.sqrt(size)) + 0.2 / size
    drawn = _distances(size)
    farther = drawn.size - int(np.searchsorted(drawn, distance * (1 - 1e-12)))
    return (1 + farther) / (1 + drawn.size)


@cache
def _distances(count: int) -> Array:
    """KS distances of simulated exponential samples of `count` values from their own fits: [DRAWS], ascending."""
    chance = np.random.default_rng((SEED, count))
    below, above = np.arange(count) / count, np.arange(1, count + 1) / count
    distances = np.empty(DRAWS)
    for start in range(0, DRAWS, 500):  # [500, count] at a time: 2 MB
        end = min(start + 500, DRAWS)
        sample = np.sort(chance.exponential(size=(end - start, count)), axis=1)
        share = -np.expm1(-sample / sample.mean(axis=1, keepdims=True))
        distances[start:end] = np.maximum((share - below).max(axis=1), (above - share).max(axis=1))
    return np.sort(distances)
