"""Which law latencies follow: an exponential distribution tested, and gamma and lognormal beside it.

All have their origin at 0: a location that is fitted too would make the likelihood grow without bound. The shifted
exponential, whose origin is the least value, is tested apart and takes no part in the comparison.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST = 10  # values; with fewer any law fits
DRAWS = 4_999
LARGEST = 500  # values of a drawn sample; Stephens' formula carries its distances to larger ones
SEED = 20_230_507
ALIKE = 1e-9  # of the greatest value: what differs by less is rounding

Array = NDArray[np.float64]


def check_values(values: Sequence[float]) -> None:
    """Raises ValueError where no distribution can be fitted: too few values, one not positive, all alike."""
    if len(values) < FEWEST:
        raise ValueError(f"a distribution is fitted to {FEWEST} values or more; there are {len(values)}")
    if min(values) <= 0:
        raise ValueError("a value is 0 or less: gamma and lognormal are laws of positive values")
    if max(values) - min(values) <= ALIKE * max(values):
        raise ValueError("all values are alike: a constant has no distribution")


def against_exponential(values: Sequence[float]) -> dict[str, float]:
    """The exponential distribution of the same mean, the Kolmogorov-Smirnov distance to it, and its p.

    The mean is estimated from the same values, which makes the usual p far too kind (Lilliefors 1969, JASA 64:387).
    The distance of exponential samples does not depend on their true mean, so p is the share of drawn samples of this
    size that lie as far from their own fit: (1 + farther) / (1 + draws) (Davison & Hinkley 1997, eq. 4.11).
    Raises ValueError as `check_values` does.
    """
    check_values(values)
    return _against_exponential(np.asarray(values, dtype=float))


def against_shifted(values: Sequence[float]) -> dict[str, float]:
    """As `against_exponential`, for an exponential distribution that begins at the least value instead of 0.

    What lies above the least of exponential values is an exponential sample of one less (Sukhatme 1937).
    Raises ValueError as `check_values` does.
    """
    check_values(values)
    least, *others = sorted(values)
    return {"shift_s": least, **_against_exponential(np.asarray(others, dtype=float) - least)}


def compare_families(values: Sequence[float]) -> dict[str, Any]:
    """Akaike's criterion of exponential, gamma and lognormal, each by maximum likelihood with its origin at 0.

    {"best": name, "families": {name: {parameters, "aic", "above_best"}}}; another 2 above the best is little, 10 much
    (Burnham & Anderson 2002, section 2.6). Raises ValueError as `check_values` does.
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
        fit = law.fit(array, floc=0)  # (shape where the law has one, location, scale)
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
    if count > size:  # Stephens 1974, table 1A, case 4: so modified, distances of all sizes have one distribution
        modified = (distance - 0.2 / count) * (math.sqrt(count) + 0.26 + 0.5 / math.sqrt(count))
        distance = modified / (math.sqrt(size) + 0.26 + 0.5 / math.sqrt(size)) + 0.2 / size
    drawn = _distances(size)
    farther = drawn.size - int(np.searchsorted(drawn, distance * (1 - 1e-12)))
    return (1 + farther) / (1 + drawn.size)


@cache
def _distances(count: int) -> Array:
    """[DRAWS] ascending: how far exponential samples of so many values lie from the exponential of their own mean."""
    chance = np.random.default_rng((SEED, count))
    below, above = np.arange(count) / count, np.arange(1, count + 1) / count
    distances = np.empty(DRAWS)
    for start in range(0, DRAWS, 500):  # [500, count] at a time: 2 MB
        end = min(start + 500, DRAWS)
        sample = np.sort(chance.exponential(size=(end - start, count)), axis=1)
        share = -np.expm1(-sample / sample.mean(axis=1, keepdims=True))
        distances[start:end] = np.maximum((share - below).max(axis=1), (above - share).max(axis=1))
    return np.sort(distances)
