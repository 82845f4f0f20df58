"""An interval holds the truth as often as it says, whatever the truth; and what is asked of too little is refused."""

import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.scores.intervals import Z, answers_needed, confidence, of_counts, over_tasks, variances, wilson


@given(st.integers(1, 400), st.data())
def test_wilson_solves_the_equation_it_comes_from(total: int, data: st.DataObject) -> None:
    """Its ends are the shares p for which |found - p| is Z standard errors of p."""
    passed = data.draw(st.integers(0, total))
    low, high = wilson(passed, total)
    assert 0 <= low <= passed / total <= high <= 1
    for end in (low, high):
        assert math.isclose((passed / total - end) ** 2, Z * Z * end * (1 - end) / total, rel_tol=1e-9, abs_tol=1e-12)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_an_interval_over_tasks_holds_their_mean_and_is_always_the_same(values: list[float]) -> None:
    low, high = over_tasks(values)
    assert 0 <= low <= statistics.fmean(values) + 1e-9
    assert statistics.fmean(values) - 1e-9 <= high <= 1 + 1e-9
    assert over_tasks(values) == (low, high)


@pytest.mark.slow
def test_the_interval_over_tasks_holds_the_truth_in_about_95_of_100_runs() -> None:
    """Tasks drawn from a population, 5 answers each: how often is the population's mean inside?"""
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
    assert math.isclose(between, 0.04, rel_tol=0.1)  # of Beta(2, 3)
    assert math.isclose(within, 0.2, rel_tol=0.05)  # E p(1-p)


@given(st.lists(st.tuples(st.just(6), st.integers(0, 6)), min_size=2, max_size=40), st.floats(0.005, 0.3))
def test_fewer_answers_than_needed_are_too_few(counts: list[tuple[int, int]], half_width: float) -> None:
    between, within = variances(counts)

    def half(answers: int) -> float:
        return Z * math.sqrt((between + within / answers) / len(counts))

    needed = answers_needed(counts, half_width)
    if needed is None:
        assert half(10**9) >= half_width * (1 - 1e-6)
    else:
        assert half(needed) <= half_width * (1 + 1e-9)
        assert needed == 1 or half(needed - 1) > half_width * (1 - 1e-9)


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
