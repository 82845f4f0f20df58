"""The budget curve of tokens with judged prefixes: a longer reply passes at a budget if its prefix does.

Budgets are powers of 2. Where the prefix of a reply was not judged, it counts as not passed, so the curve remains a
lower bound.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import accumulate

from swarmeval.records import Completion, Outcome
from swarmeval.scores.budgets import columns
from swarmeval.scores.spending import tokens_of

NAME = "output_tokens_with_prefixes"
BASIS = "a longer reply is judged up to the budget, as if that limit had cut it"
NO_PREFIXES = "no reply says what it had written after 1, 2, 4, ... tokens"


class PrefixCurve:
    """Accumulates judged first answers with the outcomes of their prefixes. Keeps small counts per task."""

    def __init__(self) -> None:
        self._replies: Counter[str] = Counter()  # per task
        self._ended: Counter[int] = Counter()  # by the exponent of the first power of 2 that holds the reply
        self._passed: dict[str, Counter[int]] = {}  # the same of passing replies, per task
        self._cut_passes: dict[str, Counter[int]] = {}  # passing prefixes, by the exponent of their length
        self._judged = self._incomplete = self._unknown = 0

    def add(self, task_id: str, completion: Completion, passed: bool, outcomes: Mapping[int, Outcome]) -> None:
        """Count a reply. `outcomes` are those of its prefixes, by their tokens."""
        tokens = tokens_of(completion)
        if tokens is None:
            self._unknown += 1
            return
        end = max(0, tokens - 1).bit_length()
        judged = {k: outcomes[1 << k] for k in range(end) if 1 << k in outcomes}
        self._judged += bool(judged)
        self._incomplete += len(judged) < end
        self._replies[task_id] += 1
        self._ended[end] += 1
        self._passed.setdefault(task_id, Counter())[end] += passed
        cut_passes = self._cut_passes.setdefault(task_id, Counter())
        cut_passes.update(k for k, outcome in judged.items() if outcome is Outcome.PASSED)

    def reason(self) -> str:
        """The reason why no prefix was judged although that was asked for; empty if some were."""
        return "" if self._judged else NO_PREFIXES

    def facts(self) -> dict[str, object]:
        """The curve, in the form of the others; empty if no prefix was judged or a reply does not state its tokens."""
        if self._unknown or not self._judged:
            return {}
        exponents = range(max(self._ended) + 1)
        passes = {
            task: [whole + self._cut_passes[task][k] for k, whole in enumerate(_running(passed, exponents))]
            for task, passed in self._passed.items()
        }
        ended = _running(self._ended, exponents)
        first = next((k for k in exponents if ended[k] or any(counts[k] for counts in passes.values())), 0)
        shown = exponents[first:]
        counts = [[(n, passes[task][k]) for task, n in self._replies.items()] for k in shown]
        total = self._replies.total()
        curve = columns("tokens", BASIS, [1 << k for k in shown], counts, [ended[k] / total for k in shown])
        return {**curve, **({"incomplete": self._incomplete} if self._incomplete else {})}


def _running(counts: Counter[int], exponents: range) -> list[int]:
    return list(accumulate(counts[k] for k in exponents))
