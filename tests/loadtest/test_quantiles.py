"""Percentiles and their intervals, checked against known distributions."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.loadtest.quantiles import QUANTILES, quantile, quantiles
from swarmeval.scores.stats import percentile


@settings(deadline=None)  # the first import of scipy.stats takes a second
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.sampled_from(QUANTILES))
def test_the_bounds_lie_around_the_value_and_among_the_values(values: list[float], q: float) -> None:
    ordered = sorted(values)
    if len(values) < round(1 / min(q / 100, 1 - q / 100)):
        return
    estimate = quantile(ordered, q)
    assert estimate.low is None or (estimate.low in values and estimate.low <= estimate.value)
    assert estimate.high is None or (estimate.high in values and estimate.value <= estimate.high)


@settings(deadline=None)
@given(st.integers(1000, 1100), st.integers(0, 99), st.sampled_from(QUANTILES))
def test_a_run_and_a_load_run_have_the_same_percentiles(count: int, seed: int, q: float) -> None:
    chance = random.Random(seed)
    ordered = sorted(chance.choice([0.0, 1.0, chance.expovariate(1.0)]) for _ in range(count))
    assert quantile(ordered, q).value == pytest.approx(percentile(ordered, q), rel=1e-9, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("q", "count"), [(50, 40), (90, 150), (99, 600)])
def test_an_interval_has_its_nominal_coverage(q: float, count: int) -> None:
    """At least 95 % of 500 samples, minus three standard deviations. Exponential values are far from symmetric."""
    true, chance, covered = -math.log(1 - q / 100), random.Random(5), 0
    for _ in range(500):
        estimate = quantile(sorted(chance.expovariate(1.0) for _ in range(count)), q)
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= true <= estimate.high
    assert covered >= 500 * 0.95 - 3 * math.sqrt(500 * 0.95 * 0.05)
    assert covered < 500


def test_a_percentile_of_too_few_values_is_undefined_with_a_reason() -> None:
    percentiles, reasons = quantiles([float(k) for k in range(1, 151)])
    assert percentiles["p99.9"] is None
    assert reasons["p99.9"] == "p99.9 needs at least 1,000 values; there are 150"
    assert percentiles["p99"] is not None
    assert percentiles["p99"]["high"] is None
    assert reasons["p99.interval"] == "150 values are too few for the upper bound of its interval"
    assert percentiles["p50"] is not None
    assert "p50.interval" not in reasons
    assert quantiles([])[0] == dict.fromkeys(f"p{q:g}" for q in QUANTILES)
