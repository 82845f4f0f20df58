"""Budget curves: pass@1 within a budget of tokens, seconds, joules or money, from one run. Pure arithmetic.

A reply counts as passed at a budget if it passed and had ended within it. This is a lower bound on the score of a run
with that limit, because a reply that the limit cuts may pass as well.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from swarmeval.records import Completion
from swarmeval.scores.intervals import of_shares
from swarmeval.scores.spending import BY_TOKENS, Spending, tokens_of

FINENESS = (1, 2, 4, 8, 16)  # budgets per doubling, of which the coarsest with at least LEAST budgets is used
LEAST = 10
DIGITS = 3  # at least, of a budget that is not a whole number
SMALLEST = 1e-12  # amounts below it are within every budget
PLACES = 6  # of a share in the file

TOKENS, SECONDS, JOULES, MONEY = "output_tokens", "seconds", "joules", "money"


@dataclass(slots=True)
class Curve:
    """One quantity of replies, and the replies that ended within each budget of it."""

    unit: str
    amount: Callable[[Completion], float | None]
    basis: str = ""  # how a total was divided among the replies
    lowest: float = math.inf  # above 0
    highest: float = 0.0
    replies: int = 0
    unknown: int = 0
    budgets: list[float] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)  # replies, by the first budget that they end within
    passed: dict[str, list[int]] = field(default_factory=dict)  # the same of passing ones, per task
    judged: dict[str, int] = field(default_factory=dict)  # replies per task

    def measure(self, completion: Completion) -> None:
        amount = self.amount(completion)
        self.replies += 1
        if amount is None or not 0 <= amount < math.inf:
            self.unknown += 1
        elif amount >= SMALLEST:
            self.lowest, self.highest = min(self.lowest, amount), max(self.highest, amount)

    def add(self, task_id: str, completion: Completion, passed: bool) -> None:
        if not self.budgets:
            self.budgets = log_spaced(self.lowest, self.highest, self.unit == "tokens")
            self.ended = [0] * len(self.budgets)
        place = bisect_left(self.budgets, self.amount(completion) or 0.0)
        self.judged[task_id] = self.judged.get(task_id, 0) + 1
        self.ended[place] += 1
        if passed:
            self.passed.setdefault(task_id, [0] * len(self.budgets))[place] += 1

    @property
    def is_known(self) -> bool:
        return self.highest > 0 and not self.unknown

    def facts(self) -> dict[str, object]:
        """Columns of equal length: budgets, pass@1 with its interval, and the share of replies that had ended."""
        none = [0] * len(self.budgets)
        within = {task: list(accumulate(self.passed.get(task, none))) for task in self.judged}
        counts = [[(n, within[task][k]) for task, n in self.judged.items()] for k in range(len(self.budgets))]
        ended = [count / self.replies for count in accumulate(self.ended)]
        return columns(self.unit, self.basis, self.budgets, counts, ended)


class BudgetCurves:
    """The curves of a run. Takes every judged first answer twice: to measure the ranges, then to count."""

    def __init__(self, spending: Spending) -> None:
        self._curves = {
            TOKENS: Curve("tokens", tokens_of),
            SECONDS: Curve("s", lambda completion: completion.latency_s or None),
        }
        if spending.joules_per_token is not None:
            self._curves[JOULES] = Curve("J", spending.joules, f"energy above idle power {BY_TOKENS}")
        if spending.currency:
            basis = f"tokens at their prices; device time {BY_TOKENS}"
            self._curves[MONEY] = Curve(spending.currency, spending.money, basis)

    def measure(self, completion: Completion) -> None:
        for curve in self._curves.values():
            curve.measure(completion)

    def add(self, task_id: str, completion: Completion, passed: bool) -> None:
        """Count a reply, after all have been measured."""
        for curve in self._curves.values():
            if curve.is_known:
                curve.add(task_id, completion, passed)

    def facts(self) -> dict[str, object]:
        """The known curves by name, for score.json."""
        return {name: curve.facts() for name, curve in self._curves.items() if curve.is_known and curve.budgets}

    def undefined(self) -> Mapping[str, str]:
        """The reasons for missing curves."""
        return {
            f"budgets.{name}": f"{curve.unknown} of {curve.replies} replies do not state it"
            for name, curve in self._curves.items()
            if curve.unknown
        }


def columns(
    unit: str,
    basis: str,
    budgets: Sequence[float],
    counts: Sequence[Sequence[tuple[int, int]]],
    ended: Iterable[float],
) -> dict[str, object]:
    """A curve as columns of equal length. `counts` are (replies, passes) per task, for each budget."""
    around = [of_shares(pairs) for pairs in counts]
    return {
        "unit": unit,
        **({"basis": basis} if basis else {}),
        "budgets": list(budgets),
        "pass@1": _rounded(math.fsum(c / n for n, c in pairs) / len(pairs) for pairs in counts),
        "low": _rounded(low for low, _ in around),
        "high": _rounded(high for _, high in around),
        "ended": _rounded(ended),
    }


def log_spaced(lowest: float, highest: float, whole: bool = False) -> list[float]:
    """Evenly spaced powers of 2 and of its roots, from the first that holds `lowest` to the first that holds `highest`.

    Powers of 2 are always among them, because these are usual limits. `whole`: round up to whole numbers.
    """
    doublings = math.log2(highest / lowest)
    fineness = next((steps for steps in FINENESS if steps * doublings >= LEAST), FINENESS[-1])
    first, last = (math.ceil(math.log2(amount) * fineness) for amount in (lowest, highest))
    steps = (2 ** (k / fineness) for k in range(first, last + 1))
    budgets = sorted({float(math.ceil(step)) if whole else _rounded_up(step) for step in steps})
    budgets[-1] = max(budgets[-1], highest)  # floating-point logarithms may fall short of it
    return [int(budget) for budget in budgets] if whole else budgets


def _rounded_up(value: float) -> float:
    """Three digits, or a whole number."""
    scale = 10.0 ** max(0, DIGITS - 1 - math.floor(math.log10(value)))
    return math.ceil(value * scale - 1e-9) / scale


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(value, PLACES) for value in values]
