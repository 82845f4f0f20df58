"""Fitted distributions, checked against samples from known ones."""

import math
import random
import re
import statistics
from collections.abc import Callable

import pytest

from swarmeval.loadtest.fits import DRAWS, against_exponential, against_shifted, compare_families


def sample(law: str, count: int, seed: int) -> list[float]:
    chance = random.Random(f"{law}{seed}")
    draws: dict[str, Callable[[], float]] = {
        "exponential": lambda: chance.expovariate(0.5),
        "gamma": lambda: chance.gammavariate(4.0, 0.5),
        "lognormal": lambda: chance.lognormvariate(0.0, 0.8),
    }
    return [draws[law]() for _ in range(count)]


def far_from_uniform(ps: list[float]) -> float:
    """Kolmogorov-Smirnov distance to the uniform distribution, times the square root of the sample size."""
    ordered, count = sorted(ps), len(ps)
    gaps = [max(p - rank / count, (rank + 1) / count - p) for rank, p in enumerate(ordered)]
    return max(gaps) * math.sqrt(count)


@pytest.mark.slow
@pytest.mark.parametrize("count", [25, 300, 900])
def test_p_of_exponential_values_is_uniform(count: int) -> None:
    """1.63 is the 1 % critical value. Drawn samples have at most 500 values; Stephens' formula scales 900 to that."""
    assert (
        far_from_uniform([against_exponential(sample("exponential", count, seed))["p"] for seed in range(400)]) < 1.63
    )


@pytest.mark.slow
def test_p_of_shifted_exponential_values_is_uniform_and_finds_the_shift() -> None:
    fits = [against_shifted([3 + value for value in sample("exponential", 60, seed)]) for seed in range(400)]
    assert far_from_uniform([one["p"] for one in fits]) < 1.63
    assert all(3 <= one["shift_s"] < 3.5 for one in fits)


def test_distance_and_p_are_those_of_lilliefors_test() -> None:
    """Lilliefors' table (ten million samples) is accurate up to 0.2; our 4,999 draws have a standard error of 0.006."""
    from statsmodels.stats.diagnostic import lilliefors

    compared_ps = 0
    for seed in range(100):
        values = sample("exponential", 30 if seed % 2 else 200, seed)
        distance, p = lilliefors(values, dist="exp", pvalmethod="table")
        fit = against_exponential(values)
        assert fit["distance"] == pytest.approx(distance, rel=1e-9)
        if p <= 0.2:
            compared_ps += 1
            assert fit["p"] == pytest.approx(p, abs=0.025)
    assert compared_ps >= 10


def test_the_standard_p_would_be_too_large() -> None:
    """Lilliefors' 5 % critical value for 30 values is 0.192 (1969, table 1); the plain test's is 0.242."""
    values = sorted(sample("exponential", 30, 1))
    assert (
        against_exponential(values)["p"] == against_exponential([7 * value for value in values])["p"]
    )  # the scale does not matter
    near = next(
        v
        for seed in range(3000)
        if abs((v := against_exponential(sample("exponential", 30, seed)))["distance"] - 0.192) < 0.001
    )
    assert 0.035 < near["p"] < 0.065


def test_other_laws_are_distinguished_from_an_exponential() -> None:
    for law in ("gamma", "lognormal"):
        assert against_exponential(sample(law, 300, 1))["p"] <= 2 / (DRAWS + 1)


@pytest.mark.parametrize("law", ["exponential", "gamma", "lognormal"])
def test_aic_picks_the_family_that_generated_the_values(law: str) -> None:
    """An exponential is also a gamma. By the chi-squared law, AIC must prefer the one with fewer parameters in 84 %."""
    picks = [compare_families(sample(law, 400, seed))["best"] for seed in range(60)]
    assert picks.count(law) >= (42 if law == "exponential" else 57)


def test_exponential_and_lognormal_have_their_closed_form() -> None:
    values = sample("lognormal", 300, 5)
    logs = [math.log(value) for value in values]
    families = compare_families(values)["families"]
    assert families["exponential"]["mean_s"] == pytest.approx(statistics.fmean(values), rel=1e-9)
    assert families["lognormal"]["median_s"] == pytest.approx(math.exp(statistics.fmean(logs)), rel=1e-9)
    assert families["lognormal"]["sigma"] == pytest.approx(statistics.pstdev(logs), rel=1e-9)


def test_fitted_parameters_are_those_of_the_distribution() -> None:
    gamma = compare_families(sample("gamma", 5000, 3))["families"]["gamma"]
    assert (gamma["shape"], gamma["scale_s"]) == (pytest.approx(4, rel=0.06), pytest.approx(0.5, rel=0.06))
    lognormal = compare_families(sample("lognormal", 5000, 3))["families"]["lognormal"]
    assert (lognormal["median_s"], lognormal["sigma"]) == (pytest.approx(1, rel=0.06), pytest.approx(0.8, rel=0.06))
    families = compare_families(sample("exponential", 500, 3))["families"]
    assert min(one["above_best"] for one in families.values()) == 0
    exponential = families["exponential"]
    likelihood = -500 * math.log(exponential["mean_s"]) - 500
    assert exponential["aic"] == pytest.approx(2 - 2 * likelihood)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1.0, 2.0], "a distribution fit needs at least 10 values; there are 2"),
        ([0.0, *range(1, 20)], "a value is 0 or less; gamma and lognormal need positive values"),
        ([3.0] * 20, "all values are equal; no distribution can be fitted to a constant"),
    ],
)
def test_values_that_cannot_be_fitted_are_refused_with_the_reason(values: list[float], reason: str) -> None:
    for look in (against_exponential, against_shifted, compare_families):
        with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
            look(values)
