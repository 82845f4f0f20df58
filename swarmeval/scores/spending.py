"""Costs of a run and of its replies in money and energy. Pure arithmetic on counts, prices and measured totals.

A run measures the energy and the time of its devices only in total. Both are divided among the replies by their
delivered tokens.
"""

from dataclasses import dataclass

from swarmeval.records import Completion
from swarmeval.settings.prices import PriceSettings

MILLION = 1_000_000
HOUR_S = 3600
BY_TOKENS = "of the whole run, divided among the replies by their delivered tokens"
NO_TOKENS = "{missing} of {replies} replies do not state their tokens"


def tokens_of(completion: Completion) -> int | None:
    """The output tokens of a reply; None if a server or a file of replies does not state them.

    Only a reply that took time and has no text can have none.
    """
    is_empty = completion.latency_s and not completion.reply and not completion.reasoning
    return completion.output_tokens if completion.output_tokens or is_empty else None


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of a run, and the number of devices that they are paid for."""

    settings: PriceSettings
    devices: int


class Spending:
    """Accumulates the tokens of a run, and divides its costs among its replies."""

    def __init__(
        self,
        prices: Prices | None,
        generation_s: float,
        output_tokens: int,
        joules_per_token: float | None,
    ) -> None:
        """`generation_s` and `output_tokens` are those of the whole run, `joules_per_token` that of delivered ones."""
        self.joules_per_token = joules_per_token
        self._prices = prices.settings if prices is not None and prices.settings.is_known() else None
        self._devices = prices.devices if prices is not None else 0
        self._hours = generation_s / HOUR_S
        self._output_tokens = output_tokens
        self._replies = self._input_tokens = self._untold = 0

    @property
    def currency(self) -> str:
        """The currency; empty without prices."""
        return "" if self._prices is None else self._prices.currency

    @property
    def _device_money(self) -> float:
        assert self._prices is not None
        return (self._prices.per_device_hour or 0.0) * self._devices * self._hours

    def add(self, completion: Completion) -> None:
        """Count a reply of any round."""
        self._replies += 1
        self._input_tokens += completion.prompt_tokens
        self._untold += tokens_of(completion) is None or not completion.prompt_tokens

    def joules(self, completion: Completion) -> float | None:
        """Energy of a reply above idle power; None if unknown."""
        tokens = tokens_of(completion)
        return None if tokens is None or self.joules_per_token is None else tokens * self.joules_per_token

    def money(self, completion: Completion) -> float | None:
        """The price of a reply; None if unknown."""
        tokens, prices = tokens_of(completion), self._prices
        if tokens is None or prices is None:
            return None
        paid = 0.0
        if prices.input_per_million is not None and prices.output_per_million is not None:
            if not completion.prompt_tokens:
                return None
            paid = (completion.prompt_tokens * prices.input_per_million + tokens * prices.output_per_million) / MILLION
        return paid + (tokens * self._device_money / self._output_tokens if self._output_tokens else 0.0)

    def facts(self, evaluations: int, solved: int) -> dict[str, object]:
        """The entry `cost` of score.json; empty without prices. Undefined values are None, with a reason."""
        if self._prices is None:
            return {}
        reason, tokens = "", 0.0
        if self._prices.input_per_million is not None and self._prices.output_per_million is not None:
            if self._untold or not self._replies:
                reason = NO_TOKENS.format(missing=self._untold, replies=self._replies)
            tokens = self._input_tokens * self._prices.input_per_million
            tokens = (tokens + self._output_tokens * self._prices.output_per_million) / MILLION
        total = None if reason else tokens + self._device_money
        has_hours = self._prices.per_device_hour is not None
        return {
            "cost": {
                "currency": self._prices.currency,
                "total": total,
                "per_evaluation": total / evaluations if total is not None and evaluations else None,
                "per_solved_task": total / solved if total is not None and solved else None,
                "input_tokens": self._input_tokens,
                "output_tokens": self._output_tokens,
                **({"devices": self._devices, "hours": self._hours} if has_hours else {}),
                **({"undefined": {"total": reason}} if reason else {}),
            }
        }
