"""The tokens of thoughts, which precede the answers of models that reason. Pure arithmetic."""

from collections.abc import Mapping
from typing import Any

from swarmeval.records import Completion


class Reasoning:
    """Accumulates the replies that have thoughts."""

    def __init__(self) -> None:
        self._replies = self._tokens = self._uncounted = 0

    def add(self, completion: Completion) -> None:
        if not completion.reasoning and not completion.reasoning_tokens:
            return
        self._replies += 1
        self._tokens += completion.reasoning_tokens or 0
        self._uncounted += completion.reasoning_tokens is None

    def facts(self) -> dict[str, object]:
        """The entry `reasoning` of result files; empty without thoughts.

        The mean is over the replies that have thoughts. Even one of unknown length leaves total and mean undefined.
        """
        if not self._replies:
            return {}
        if self._uncounted:
            reason = f"{self._uncounted} of {self._replies} replies do not state the tokens of their thoughts"
            missing = {"tokens": reason, "mean_tokens": reason}
            return {"reasoning": {"replies": self._replies, "tokens": None, "mean_tokens": None, "undefined": missing}}
        return {
            "reasoning": {
                "replies": self._replies,
                "tokens": self._tokens,
                "mean_tokens": self._tokens / self._replies,
            }
        }


def reasoning_in_words(facts: Mapping[str, Any]) -> str:
    """The replies with thoughts, and the tokens of these."""
    replies = f"{facts['replies']:,} replies have thoughts"
    if facts["tokens"] is None:
        return f"{replies}; their tokens are unknown"
    return f"{replies}: {facts['tokens']:,} tokens, {facts['mean_tokens']:,.0f} per reply"
