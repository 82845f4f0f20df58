"""A run costs its tokens at their prices and its devices by the hour; what is unknown has no price."""

import pytest

from swarmeval.errors import ConfigError
from swarmeval.records import Completion
from swarmeval.scores.spending import Prices, Spending, tokens_of
from swarmeval.settings.loading import validate
from swarmeval.settings.prices import PriceSettings

TOKENS = PriceSettings(input_per_million=2.0, output_per_million=8.0)
HOURS = PriceSettings(currency="EUR", per_device_hour=3.0)


def reply(prompt: int, output: int) -> Completion:
    return Completion("0/a/0/0", "text", prompt_tokens=prompt, output_tokens=output, latency_s=1.0)


def spent(settings: PriceSettings, replies: list[Completion], generation_s: float = 0.0, devices: int = 1) -> Spending:
    tokens = sum(one.output_tokens for one in replies)
    spending = Spending(Prices(settings, devices), generation_s, tokens, None)
    for one in replies:
        spending.add(one)
    return spending


def test_tokens_are_paid_at_their_prices() -> None:
    replies = [reply(1000, 500), reply(1000, 1500)]
    found = spent(TOKENS, replies).facts(evaluations=2, solved=1)
    total = (2000 * 2 + 2000 * 8) / 1e6
    assert found == {
        "cost": {
            "currency": "USD", "total": total, "per_evaluation": total / 2, "per_solved_task": total,
            "input_tokens": 2000, "output_tokens": 2000,
        }
    }  # fmt: skip
    assert spent(TOKENS, replies).money(replies[0]) == (1000 * 2 + 500 * 8) / 1e6


def test_device_time_is_divided_by_delivered_tokens() -> None:
    replies = [reply(10, 100), reply(10, 300)]
    spending = spent(HOURS, replies, generation_s=1800.0, devices=4)
    cost = spending.facts(2, 0)["cost"]
    assert isinstance(cost, dict)
    assert (cost["total"], cost["devices"], cost["hours"], cost["per_solved_task"]) == (6.0, 4, 0.5, None)
    assert [spending.money(one) for one in replies] == [1.5, 4.5]


def test_a_reply_without_its_tokens_leaves_the_total_undefined() -> None:
    cost = spent(TOKENS, [reply(0, 10), reply(5, 10)]).facts(2, 1)["cost"]
    assert isinstance(cost, dict)
    assert (cost["total"], cost["per_evaluation"]) == (None, None)
    assert cost["undefined"] == {"total": "1 of 2 replies do not state their tokens"}


def test_without_prices_nothing_is_stated() -> None:
    assert spent(PriceSettings(currency="EUR"), [reply(1, 1)]).facts(1, 1) == {}
    assert Spending(None, 1.0, 1, None).money(reply(1, 1)) is None


def test_only_an_empty_reply_that_took_time_has_no_tokens() -> None:
    assert tokens_of(Completion("0/a/0/0", "", latency_s=1.0)) == 0
    assert tokens_of(Completion("0/a/0/0", "")) is None
    assert tokens_of(Completion("0/a/0/0", "text", latency_s=1.0)) is None
    assert tokens_of(Completion("0/a/0/0", "", reasoning="Hm", latency_s=1.0)) is None


def test_one_price_of_tokens_without_the_other_is_refused() -> None:
    for key in ("input_per_million", "output_per_million"):
        with pytest.raises(ConfigError) as error:
            validate({"prices": {key: 1.0}}, "f.yaml")
        together = "input_per_million and output_per_million belong together; set both, 0 for what is free"
        assert str(error.value) == f"f.yaml: prices: {together}"
