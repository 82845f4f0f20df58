"""Correlations, regression lines and the test for different lines, checked on points with known relations."""

import math
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.loadtest.relations import Points, differ, line, matrices


def points(slope: float, seed: int, count: int = 40, intercept: float = 0.3, noise: float = 0.1) -> Points:
    chance = random.Random(seed)
    tokens = [float(chance.randint(1, 300)) for _ in range(count)]
    return tokens, [intercept + slope * x + chance.gauss(0, noise) for x in tokens]


@pytest.mark.slow
def test_a_line_is_found_and_its_interval_has_nominal_coverage() -> None:
    lines = [line(points(0.02, seed)) for seed in range(200)]
    covered = sum(one["low"] <= 0.02 <= one["high"] for one in lines)
    assert abs(covered - 190) <= 3 * math.sqrt(200 * 0.95 * 0.05)
    assert lines[0]["s_per_token"] == pytest.approx(0.02, rel=0.05)
    assert lines[0]["intercept_s"] == pytest.approx(0.3, abs=0.1)
    assert 0.99 < lines[0]["r_squared"] < 1


@pytest.mark.slow
def test_equal_lines_are_called_different_only_by_chance() -> None:
    ps = [differ({name: points(0.02, 3 * seed + k) for k, name in enumerate("abc")}) for seed in range(200)]
    for key in ("lines", "slopes"):
        assert sum(one[key]["p"] < 0.05 for one in ps) <= 10 + 3 * math.sqrt(200 * 0.05 * 0.95)
        assert sum(one[key]["p"] < 0.5 for one in ps) == pytest.approx(100, abs=3 * math.sqrt(50))


def test_different_lines_are_found() -> None:
    slopes = differ({"a": points(0.02, 1), "b": points(0.022, 2)})
    assert slopes["slopes"]["p"] < 1e-6
    assert slopes["slopes"]["p_robust"] < 1e-6
    parallel = differ({"a": points(0.02, 1), "b": points(0.02, 2, intercept=0.6)})
    assert parallel["lines"]["p"] < 1e-6
    assert parallel["slopes"]["p"] > 0.01
    assert (parallel["lines"]["df"], parallel["slopes"]["df"]) == ([2, 76], [1, 76])


@pytest.mark.slow
def test_the_robust_p_holds_if_long_answers_scatter_more() -> None:
    """If scatter grows with length, the plain F test finds false differences, and the robust test keeps its level."""

    def fan(seed: int, count: int) -> Points:
        chance = random.Random(seed)
        tokens = [chance.expovariate(1 / 60) for _ in range(count)]
        return tokens, [0.02 * x + chance.gauss(0, 0.0001) * x**1.7 for x in tokens]

    comparisons = [differ({"a": fan(2 * seed, 300), "b": fan(2 * seed + 1, 60)}) for seed in range(150)]
    plain, robust = (sum(one["slopes"][key] < 0.05 for one in comparisons) for key in ("p", "p_robust"))
    assert plain > robust
    assert robust <= 150 * 0.05 + 4 * math.sqrt(150 * 0.05 * 0.95)


def test_a_package_without_a_line_is_left_out_and_named() -> None:
    comparison = differ(
        {"a": points(0.02, 1), "b": points(0.02, 2), "few": ([1.0, 2.0], [1.0, 2.0]), "flat": ([5.0] * 9, [1.0] * 9)}
    )
    assert comparison["packages"] == ["a", "b"]
    assert comparison["left_out"] == {
        "few": "a line needs at least 8 requests with token counts; there are 2",
        "flat": "all answers have 5 tokens; a line needs at least two lengths",
    }


@pytest.mark.parametrize(
    ("packages", "reason"),
    [
        (
            {"a": points(0.02, 1)},
            "the comparison needs two packages with a regression line; 1 of 1 have one",
        ),
        (
            {"a": points(0.02, 1, noise=0), "b": points(0.03, 2, noise=0)},
            "every point lies exactly on its line, so an F test is impossible",
        ),
    ],
)
def test_lines_that_cannot_be_compared_are_refused_with_the_reason(packages: dict[str, Points], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        differ(packages)


def test_a_line_through_equal_latencies_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^all latencies are equal, so there is no variance to explain$"):
        line(([float(k) for k in range(9)], [2.0] * 9))


@settings(deadline=None, max_examples=30)  # the first import of scipy.stats takes a second
@given(st.lists(st.integers(1, 10_000), min_size=8, max_size=30, unique=True), st.integers(0, 99))
def test_spearman_is_invariant_under_monotonic_transformations(whole: list[int], seed: int) -> None:
    values = [float(value) for value in whole]
    others = random.Random(seed).sample(values, len(values))
    bent = [math.log(value) for value in values]
    straight, curved = matrices({"a": values, "b": others}), matrices({"a": bent, "b": others})
    assert straight["spearman"]["a"]["b"] == pytest.approx(curved["spearman"]["a"]["b"])
    assert matrices({"a": values, "b": [value**3 for value in values]})["spearman"]["a"]["b"] == pytest.approx(1)


def test_constant_columns_and_too_few_requests_have_no_correlation() -> None:
    both = matrices({"latency": [float(k) for k in range(9)], "input tokens": [7.0] * 9})
    assert (
        both["pearson"]["input tokens"] == both["spearman"]["input tokens"] == {"latency": None, "input tokens": None}
    )
    with pytest.raises(ValueError, match=r"^a correlation needs at least 8 requests with token counts; there are 3$"):
        matrices({"latency": [1.0, 2.0, 3.0], "input tokens": [1.0, 2.0, 3.0]})
