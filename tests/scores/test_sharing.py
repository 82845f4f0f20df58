"""Delivered and computed tokens, in numbers and words. Nothing is stated that was not measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.scores.sharing import cost_in_words, sharing, tokens_in_words

SCORE = {"output_tokens": 860_000, **sharing(860_000, 74_000, 100.0)}


def test_the_factor_is_delivered_by_computed_tokens() -> None:
    assert sharing(430, 100, 10.0) == {
        "computed_tokens": 100,
        "computed_tokens_per_s": 10.0,
        "sharing_factor": 4.3,
    }
    assert sharing(430, None, 10.0) == sharing(430, 100, 0.0) == {}
    assert sharing(0, 0, 1.0)["sharing_factor"] is None


def test_the_cost_is_that_of_fewer_agents_alone() -> None:
    assert cost_in_words(SCORE, 50) == "50 agents cost what 4.3 would have cost alone"
    words = "860,000 delivered, 74,000 computed"
    assert tokens_in_words(SCORE, 50) == f"{words}: 50 agents cost what 4.3 would have cost alone"
    assert tokens_in_words(SCORE, 1) == words


@given(tokens=st.integers(1, 10**9), agents=st.integers(1, 10**4))
def test_agents_that_share_nothing_are_not_said_to_be_cheaper(tokens: int, agents: int) -> None:
    assert cost_in_words(sharing(tokens, tokens, 1.0), agents) == ""


@pytest.mark.parametrize("score", [{"output_tokens": 9}, {"output_tokens": 9, "computed_tokens": 0}])
def test_an_unknown_number_has_no_words(score: dict[str, int]) -> None:
    assert tokens_in_words(score, 50) == ""
