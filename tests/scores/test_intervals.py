"""Intervals cover the true value as often as stated, and too few data are refused."""

import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.scores.intervals import (
    HALF_WIDTHS,
    LEVEL,
    Z,
    answers_needed,
    confidence,
    of_counts,
    over_tasks,
    variances,
    wilson,
)

COUNTS = st.lists(st.tuples(st.just(6), st.integers(0, 6)), min_size=2, max_size=40)
RAGGED = st.lists(
    st.integers(2, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), min_size=2, max_size=40
)


@given(st.integers(1, 400), st.data())
def test_wilson_solves_the_equation_it_comes_from(total: int, data: st.DataObject) -> None:
    """Its bounds are the proportions p for which |found - p| is Z standard errors of p."""
    passed = data.draw(st.integers(0, total))
    low, high = wilson(passed, total)
    assert 0 <= low <= passed / total <= high <= 1
    for end in (low, high):
        assert math.isclose((passed / total - end) ** 2, Z * Z * end * (1 - end) / total, rel_tol=1e-9, abs_tol=1e-12)


@settings(deadline=None, max_examples=30)  # the first import of scipy.stats takes a second
@given(st.integers(1, 10_000), st.data())
def test_wilson_is_that_of_scipy(total: int, data: st.DataObject) -> None:
    from scipy.stats import binomtest

    passed = data.draw(st.integers(0, total))
    expected = binomtest(passed, total).proportion_ci(LEVEL, method="wilson")
    assert wilson(passed, total) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_an_interval_over_tasks_holds_their_mean_and_is_always_the_same(values: list[float]) -> None:
    low, high = over_tasks(values)
    assert 0 <= low <= statistics.fmean(values) + 1e-9
    assert statistics.fmean(values) - 1e-9 <= high <= 1 + 1e-9
    assert over_tasks(values) == (low, high)


@pytest.mark.slow
def test_the_interval_over_tasks_holds_the_truth_in_about_95_of_100_runs() -> None:
    """The coverage of the population mean, for tasks drawn from a population with 5 answers each."""
    chance, truth, held, runs = random.Random(1), 0.6, 0, 200
    for _ in range(runs):
        tasks = [chance.betavariate(1.2, 0.8) for _ in range(164)]
        shares = [sum(chance.random() < task for _ in range(5)) / 5 for task in tasks]
        low, high = over_tasks(shares)
        held += low <= truth <= high
    assert 0.90 <= held / runs <= 0.99


def test_tasks_that_all_agree_leave_the_doubt_of_their_number() -> None:
    assert over_tasks([0.0] * 164) == wilson(0, 164)
    assert over_tasks([1.0] * 10) == wilson(10, 10)
    with pytest.raises(ValueError, match=r"^an interval needs a task$"):
        over_tasks([])


def test_one_answer_a_task_has_the_interval_of_a_share() -> None:
    assert of_counts([(1, 1), (1, 0), (1, 1)], [1.0, 0.0, 1.0]) == wilson(2, 3)


def test_variances_come_back_from_made_up_tasks() -> None:
    chance = random.Random(2)
    tasks = [chance.betavariate(2, 3) for _ in range(4000)]
    counts = [(8, sum(chance.random() < task for _ in range(8))) for task in tasks]
    between, within = variances(counts)
    assert math.isclose(between, 0.04, rel_tol=0.1)  # variance of Beta(2, 3)
    assert math.isclose(within, 0.2, rel_tol=0.05)  # E p(1-p)


@given(COUNTS, st.floats(0.005, 0.3), st.floats(0.005, 0.5))
def test_fewer_answers_than_needed_are_too_few(
    counts: list[tuple[int, int]], half_width: float, shown_half: float
) -> None:
    between, within = variances(counts)

    def half(answers: int) -> float:
        """Half the shown interval, scaled by the standard error; unscaled if all tasks are alike."""
        now = between + within / 6
        varies = within and len(set(counts)) > 1
        return shown_half * math.sqrt((between + within / answers) / now) if varies else shown_half

    needed = answers_needed(counts, half_width, (0.5 - shown_half, 0.5 + shown_half))
    if needed is None:
        assert half(10**9) >= half_width * (1 - 1e-6)
    else:
        assert half(needed) <= half_width * (1 + 1e-9)
        assert needed == 1 or half(needed - 1) > half_width * (1 - 1e-9)


@given(st.one_of(COUNTS, RAGGED), st.floats(0.005, 0.5), st.sampled_from([0.0, 0.3, 1 - 1e-15, 1.0, 1 + 1e-15, 3.0]))
def test_given_answers_suffice_just_where_the_interval_is_narrow(
    counts: list[tuple[int, int]], half: float, ratio: float
) -> None:
    """Even if a rounding error decides."""
    shown = (0.5 - half, 0.5 + half)
    now_half = (shown[1] - shown[0]) / 2
    needed = answers_needed(counts, now_half * ratio, shown)
    if now_half <= now_half * ratio:
        assert needed is not None
        assert needed <= max(n for n, _ in counts)
    else:
        assert needed is None or needed > min(n for n, _ in counts)


@settings(max_examples=20, deadline=None)
@given(
    st.one_of(COUNTS, RAGGED, st.tuples(st.integers(2, 400), st.integers(2, 9)).map(lambda of: of[0] * [(of[1], 0)]))
)
def test_answers_needed_agree_with_the_interval_beside_them(counts: list[tuple[int, int]]) -> None:
    found, reasons = confidence(counts, [])
    intervals, needed = found["intervals"], found["answers_needed"]
    assert isinstance(intervals, dict)
    assert isinstance(needed, dict)
    low, high = intervals["pass@1"]
    for half_width in HALF_WIDTHS:
        answers = needed[f"{half_width:g}"]
        if (high - low) / 2 > half_width:
            assert answers is None or answers > min(n for n, _ in counts)
        else:
            assert answers is not None
            assert answers <= max(n for n, _ in counts)
    assert ("answers_needed" in reasons) == (None in needed.values())


def test_more_answers_do_not_narrow_the_interval_of_alike_tasks() -> None:
    """None of 16 answers passes: the interval spans 32 points and depends only on the 8 tasks."""
    found, reasons = confidence([(2, 0)] * 8, [])
    assert found["intervals"] == {"pass@1": list(wilson(0, 8)), "pass@10": None, "pass@100": None}
    assert wilson(0, 8)[1] == pytest.approx(0.324, abs=0.001)
    assert found["answers_needed"] == {"0.05": None, "0.02": None, "0.01": None}
    assert reasons["answers_needed"] == (
        "null: all tasks have the same share of passes, and the interval follows from their number; "
        "only more tasks make it narrower"
    )
    assert confidence([(4, 2)] * 8, [])[0]["answers_needed"] == {"0.05": None, "0.02": None, "0.01": None}
    assert confidence([(2, 0)] * 164, [])[0]["answers_needed"] == {"0.05": 1, "0.02": 1, "0.01": None}
    assert of_counts([(1, 0)] * 164, [0.0] * 164) == of_counts([(2, 0)] * 164, [0.0] * 164)  # the same with one answer


def test_tasks_that_differ_by_more_than_asked_need_more_tasks() -> None:
    found, reasons = confidence([(4, 0), (4, 4), (4, 1), (4, 3)], [])
    assert found["answers_needed"] == {"0.05": None, "0.02": None, "0.01": None}
    assert reasons["answers_needed"] == "null: the tasks alone differ by more; only more tasks make it narrower"


def test_what_cannot_be_said_is_none_with_its_reason() -> None:
    found, reasons = confidence([(1, 1), (0, 0), (1, 0)], [0.5, None])
    assert found == {
        "intervals": {"pass@1": list(wilson(1, 2)), "pass@10": None, "pass@100": None},
        "agents": None,
        "answers_needed": None,
    }
    assert reasons == {"answers_needed": "needs at least 2 tasks, and 2 answers to each"}
    found, _ = confidence([(2, 1), (2, 2)], [0.5, 1.0])
    assert found["agents"] == {"mean": 0.75, "sd": statistics.stdev([0.5, 1.0]), "min": 0.5, "max": 1.0}
