"""Budget curves count a reply once it has ended, never fall, and end at pass@1 of the run."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.records import Completion
from swarmeval.scores.budgets import BudgetCurves, log_spaced
from swarmeval.scores.intervals import of_shares, wilson
from swarmeval.scores.spending import Prices, Spending
from swarmeval.settings.prices import PriceSettings

Reply = tuple[str, int, float, bool]  # task, output tokens, latency, whether it passed


def curves_of(replies: Sequence[Reply], spending: Spending | None = None) -> BudgetCurves:
    curves = BudgetCurves(spending or Spending(None, 0.0, 0, None))
    judged = [
        (task, Completion(f"{k}/{task}/0/0", "r", prompt_tokens=100, output_tokens=tokens, latency_s=latency_s), passed)
        for k, (task, tokens, latency_s, passed) in enumerate(replies)
    ]
    for _, completion, _ in judged:
        curves.measure(completion)
    for task, completion, passed in judged:
        curves.add(task, completion, passed)
    return curves


def curve(curves: BudgetCurves, name: str) -> dict[str, Any]:
    found = curves.facts()[name]
    assert isinstance(found, dict)
    return found


STORY = [("a", 100, 1.0, True), ("a", 300, 4.0, True), ("b", 500, 2.0, True), ("b", 20, 0.5, False)]


def test_a_reply_passes_at_a_budget_once_it_has_ended_within_it() -> None:
    found = curve(curves_of(STORY), "output_tokens")
    at = dict(zip(found["budgets"], zip(found["pass@1"], found["ended"], strict=True), strict=True))
    assert at[64] == (0.0, 0.25)
    assert at[128] == (0.25, 0.5)  # task a: 1 of 2, task b: 0 of 2
    assert at[256] == (0.25, 0.5)
    assert at[512] == (0.75, 1.0)
    assert (found["unit"], found["budgets"][0], found["budgets"][-1]) == ("tokens", 23, 512)


def test_every_point_has_the_interval_of_its_shares() -> None:
    found = curve(curves_of(STORY), "seconds")
    at = dict(zip(found["budgets"], zip(found["low"], found["high"], strict=True), strict=True))
    assert at[1.0] == pytest.approx(of_shares([(2, 1), (2, 0)]), abs=1e-6)
    assert at[4.0] == pytest.approx(of_shares([(2, 2), (2, 1)]), abs=1e-6)
    single = curve(curves_of([(task, 10, 1.0, task == "a") for task in "abc"]), "seconds")
    assert (single["low"][-1], single["high"][-1]) == pytest.approx(wilson(1, 3), abs=1e-6)


replies = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 40_000), st.floats(1e-3, 1e4), st.booleans()), min_size=1
)


@given(replies)
def test_curves_never_fall_and_end_at_pass_at_1(given_replies: list[Reply]) -> None:
    tasks = {task: [passed for name, _, _, passed in given_replies if name == task] for task, *_ in given_replies}
    whole = math.fsum(sum(passes) / len(passes) for passes in tasks.values()) / len(tasks)
    for name in ("output_tokens", "seconds"):
        found = curve(curves_of(given_replies), name)
        assert found["pass@1"] == sorted(found["pass@1"])
        assert found["pass@1"][-1] == pytest.approx(whole, abs=1e-6)
        assert (found["ended"][-1], len(found["budgets"]) <= 26) == (1.0, True)


@given(st.floats(1e-9, 1e6), st.floats(1, 1e6), st.booleans())
def test_budgets_hold_the_range_and_are_evenly_spaced(lowest: float, ratio: float, whole: bool) -> None:
    lowest = max(1.0, lowest) if whole else lowest
    budgets = log_spaced(lowest, lowest * ratio, whole)
    assert budgets == sorted(set(budgets))
    assert budgets[-1] >= lowest * ratio
    assert len(budgets) <= 22
    if not whole:
        steps = [b / a for a, b in pairwise(budgets[:-1])]
        assert not steps or max(steps) / min(steps) < 1.02


def test_powers_of_two_are_among_the_budgets_of_tokens() -> None:
    assert [budget for budget in log_spaced(8, 512, whole=True) if math.log2(budget).is_integer()] == [
        8, 16, 32, 64, 128, 256, 512,
    ]  # fmt: skip
    assert log_spaced(512, 512, whole=True) == [512]


def test_a_quantity_that_a_reply_does_not_state_has_a_reason() -> None:
    curves = curves_of([*STORY, ("c", 40, 0.0, True)])
    assert list(curves.facts()) == ["output_tokens"]
    assert curves.undefined() == {"budgets.seconds": "1 of 5 replies do not state it"}
    imported = curves_of([("a", 0, 0.0, True)])
    assert imported.facts() == {}
    assert set(imported.undefined()) == {"budgets.output_tokens", "budgets.seconds"}


@pytest.mark.parametrize("latency_s", [-1.0, math.inf, math.nan])
def test_a_time_that_cannot_be_leaves_no_curve_of_times(latency_s: float) -> None:
    curves = curves_of([*STORY, ("c", 40, latency_s, True)])
    assert set(curves.undefined()) == {"budgets.seconds"}


def test_energy_and_money_have_curves_where_they_are_known() -> None:
    prices = Prices(PriceSettings(currency="EUR", input_per_million=1.0, output_per_million=10.0), 1)
    curves = curves_of(STORY, Spending(prices, 60.0, 920, 2.0))
    assert curve(curves, "joules")["budgets"][-1] == pytest.approx(1024)  # 500 tokens at 2 J, up to a power of two
    money = curve(curves, "money")
    assert money["unit"] == "EUR"
    assert money["budgets"][-1] >= (100 * 1 + 500 * 10) / 1e6
    assert "budgets.money" not in curves.undefined()
