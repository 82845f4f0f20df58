"""Which law latencies follow: an exponential distribution tested, and gamma and lognormal beside it.

All have their origin at 0: a location that is fitted too would make the likelihood grow without bound. The shifted
exponential, whose origin is the least value, is tested apart and takes no part in the comparison.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmeval.scores.latency import exponential

FEWEST = 10  # values; with fewer any law fits
DRAWS = 4_999
LARGEST = 500  # values of a drawn sample; Stephens' formula carries its distances to larger ones
SEED = 20_230_507
ALIKE = 1e-9  # of the greatest value: what differs by less is rounding

Array = NDArray[np.float64]


def look(values: Sequence[float]) -> None:
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
    Raises ValueError as `look` does.
    """
    look(values)
    fit = exponential(values)
    return {"mean_s": fit.mean, "distance": fit.distance, "p": _p(fit.distance, len(values))}


def against_shifted(values: Sequence[float]) -> dict[str, float]:
    """As `against_exponential`, for an exponential distribution that begins at the least value instead of 0.

    What lies above the least of exponential values is an exponential sample of one less (Sukhatme 1937).
    Raises ValueError as `look` does.
    """
    look(values)
    least, *others = sorted(values)
    fit = exponential([value - least for value in others])
    return {"shift_s": least, "mean_s": fit.mean, "distance": fit.distance, "p": _p(fit.distance, len(others))}


def compared(values: Sequence[float]) -> dict[str, Any]:
    """Akaike's criterion of exponential, gamma and lognormal, each by maximum likelihood with its origin at 0.

    {"best": name, "families": {name: {parameters, "aic", "above_best"}}}; another 2 above the best is little, 10 much
    (Burnham & Anderson 2002, section 2.6). Raises ValueError as `look` does.
    """
    from scipy import stats

    look(values)
    array = np.asarray(values, dtype=float)
    shape, _, scale = stats.gamma.fit(array, floc=0)
    logs = np.log(array)
    mean, middle, spread = float(array.mean()), float(logs.mean()), float(logs.std())
    fits: Mapping[str, tuple[dict[str, float], Array]] = {
        "exponential": ({"mean_s": mean}, stats.expon.logpdf(array, scale=mean)),
        "gamma": ({"shape": float(shape), "scale_s": float(scale)}, stats.gamma.logpdf(array, shape, scale=scale)),
        "lognormal": (
            {"median_s": math.exp(middle), "sigma": spread},
            stats.lognorm.logpdf(array, spread, scale=math.exp(middle)),
        ),
    }
    scores = {name: 2 * len(found) - 2 * float(likelihood.sum()) for name, (found, likelihood) in fits.items()}
    best = min(scores, key=scores.__getitem__)
    return {
        "best": best,
        "families": {
            name: {**found, "aic": scores[name], "above_best": scores[name] - scores[best]}
            for name, (found, _) in fits.items()
        },
    }


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
    found = np.empty(DRAWS)
    for start in range(0, DRAWS, 500):  # [500, count] at a time: 2 MB
        end = min(start + 500, DRAWS)
        sample = np.sort(chance.exponential(size=(end - start, count)), axis=1)
        share = -np.expm1(-sample / sample.mean(axis=1, keepdims=True))
        found[start:end] = np.maximum((share - below).max(axis=1), (above - share).max(axis=1))
    return np.sort(found)
