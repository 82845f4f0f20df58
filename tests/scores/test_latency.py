"""The latency figures of a report, checked against brute force and known distributions."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.scores.latency import MOST_BINS, Histogram, correlation, correlations, exponential, histogram, line

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=200)
POINTS = st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)), min_size=2, max_size=60)


@given(VALUES)
def test_a_histogram_holds_every_value_within_its_range(values: list[float]) -> None:
    found = histogram(values)
    assert sum(found.counts) == len(values)
    assert 1 <= len(found.counts) <= MOST_BINS
    assert found.start == min(values)
    assert math.isclose(found.start + found.width * len(found.counts), max(values), abs_tol=1e-9)


@given(VALUES)
def test_each_value_is_counted_in_the_bin_it_lies_in(values: list[float]) -> None:
    found = histogram(values)
    for k in range(1, len(found.counts)):
        edge = found.start + k * found.width
        below = sum(found.counts[:k])
        slack = 1e-9 * max(values)
        assert sum(value < edge - slack for value in values) <= below <= sum(value < edge + slack for value in values)


def test_values_that_are_alike_make_one_bin() -> None:
    assert histogram([2.0, 2.0, 2.0]) == Histogram(2.0, 0.0, (3,))
    assert len(histogram([52.7721, 52.7722, 52.7727]).counts) == 1


def exponentials(seed: int, count: int = 200) -> list[float]:
    chance = random.Random(seed)
    return [chance.expovariate(0.5) for _ in range(count)]


@given(st.lists(st.floats(0.001, 1000), min_size=2, max_size=80))
def test_the_distance_is_the_largest_gap_between_distribution_functions(values: list[float]) -> None:
    found = exponential(values)
    mean = statistics.fmean(values)
    gaps = []
    for value in values:
        expected = 1 - math.exp(-value / mean)
        gaps += [sum(v <= value for v in values) / len(values) - expected]
        gaps += [expected - sum(v < value for v in values) / len(values)]
    assert math.isclose(found.distance, max(gaps), abs_tol=1e-9)


def test_exponential_values_are_refused_as_often_as_chance_would() -> None:
    """5 % of 600 samples have p below 0.05, that is 30 plus or minus three standard deviations."""
    refused = sum(exponential(exponentials(seed)).p_high <= 0.05 for seed in range(600))
    assert abs(refused - 30) < 3 * math.sqrt(600 * 0.05 * 0.95)


def test_the_mean_is_found_and_normal_is_told_from_exponential() -> None:
    assert abs(exponential(exponentials(1, 5000)).mean - 2) < 0.1
    chance = random.Random(2)
    found = exponential([chance.gauss(10, 1) for _ in range(200)])
    assert (found.p_low, found.p_high) == (0.0, 0.01)


def test_a_fit_needs_two_values_none_negative_not_all_zero() -> None:
    for values in ([1.0], [0.0, 0.0], [-1.0, 2.0]):
        with pytest.raises(
            ValueError, match=r"^an exponential fit needs at least two values, none negative and not all 0$"
        ):
            exponential(values)


@given(POINTS)
def test_no_other_line_has_smaller_squares(points: list[tuple[int, int]]) -> None:
    xs, ys = [float(x) for x, _ in points], [float(y) for _, y in points]
    found = line(xs, ys)
    if found is None:
        assert len(set(xs)) == 1 or len(set(ys)) == 1
        return

    def squares(slope: float, intercept: float) -> float:
        return math.fsum((y - intercept - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))

    least = squares(found.slope, found.intercept)
    for d_slope, d_intercept in ((0.01, 0), (-0.01, 0), (0, 0.1), (0, -0.1), (0.01, -0.1)):
        assert squares(found.slope + d_slope, found.intercept + d_intercept) >= least * (1 - 1e-9) - 1e-6
    all_of_it = math.fsum((y - statistics.fmean(ys)) ** 2 for y in ys)
    assert math.isclose(found.r_squared, 1 - least / all_of_it, abs_tol=1e-6)


@given(POINTS)
def test_correlations_are_those_of_the_standard_library(points: list[tuple[int, int]]) -> None:
    xs, ys = [float(x) for x, _ in points], [float(y) for _, y in points]
    found = correlation(xs, ys)
    if len(set(xs)) == 1 or len(set(ys)) == 1:
        assert found is None
    else:
        assert found is not None
        assert math.isclose(found, statistics.correlation(xs, ys), abs_tol=1e-9)


@given(st.floats(0.01, 1000), st.lists(st.floats(0, 1000), min_size=3, max_size=9))
def test_values_that_differ_by_rounding_alone_have_no_line(value: float, others: list[float]) -> None:
    alike = [value, math.nextafter(value, 0), *[value] * (len(others) - 2)]
    for xs, ys in ((alike, others), (others, alike)):
        assert correlation(xs, ys) is None
        assert line(xs, ys) is None


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_a_line_does_not_depend_on_the_unit(scale: float) -> None:
    xs, ys = [1.0, 2.0, 4.0], [1.0, 3.0, 2.0]
    straight, scaled = line(xs, ys), line([scale * x for x in xs], ys)
    assert straight is not None
    assert scaled is not None
    assert scaled.slope * scale == pytest.approx(straight.slope, rel=1e-9)
    assert scaled.intercept == pytest.approx(straight.intercept, rel=1e-9)
    assert scaled.r_squared == pytest.approx(straight.r_squared, rel=1e-9)


def test_a_matrix_of_correlations_is_symmetric_with_ones() -> None:
    found = correlations({"a": [1.0, 2.0, 4.0], "b": [3.0, 1.0, 0.0], "same": [5.0, 5.0, 5.0]})
    assert found["a"]["a"] == pytest.approx(1.0)
    assert found["a"]["b"] == found["b"]["a"]
    assert found["a"]["same"] is None
