"""Replies that the limit on tokens cut: their share, and pass@1 of the finished replies. Pure arithmetic.

A cut reply may have been on its way to a right answer, so many of them make a score a measure of the limit.
"""

import math
from collections.abc import Mapping
from typing import Any

from swarmeval.records import Completion
from swarmeval.scores.intervals import of_counts

WARN_FROM = 0.05  # share of cut replies
UNKNOWN = "the replies do not say how they ended (finish_reason)"
NONE_JUDGED = "needs a verdict; there is none"
NONE_FINISHED = "every reply was cut"
WARNING = "the score depends on the limit: raise max_new_tokens, or state the share of cut replies with the score"


class Truncation:
    """Accumulates judged replies, per task. Replies with an unknown end are only counted."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}  # [replies, cut replies, passes of finished replies]
        self._unknown = 0
        self._thinking = 0

    def add(self, task_id: str, completion: Completion, passed: bool) -> None:
        if not completion.finish_reason:
            self._unknown += 1
            return
        counts = self._counts.setdefault(task_id, [0, 0, 0])
        counts[0] += 1
        counts[1] += completion.cut
        counts[2] += passed and not completion.cut
        self._thinking += completion.cut and not completion.reply and bool(completion.reasoning)

    def facts(self, intervals: bool = True) -> dict[str, object] | None:
        """The figures of all replies; None if no judged reply says how it ended.

        Undefined values are None, with a reason in `undefined`. Without `intervals`, they are left out.
        """
        if not self._counts:
            return None
        finished = [(n - cut, passed) for n, cut, passed in self._counts.values() if n > cut]
        shares = [passed / n for n, passed in finished]
        around = {}
        if intervals:
            around = {"finished_pass@1_interval": list(of_counts(finished, shares)) if finished else None}
        return {
            **_figures(*map(sum, zip(*self._counts.values(), strict=True))),
            "finished_pass@1": math.fsum(shares) / len(shares) if shares else None,
            **around,
            "finished_tasks": len(finished),
            **({"cut_while_thinking": self._thinking} if self._thinking else {}),
            **({"unknown": self._unknown} if self._unknown else {}),
            **({} if finished else {"undefined": {"finished_pass@1": NONE_FINISHED}}),
        }

    def reason(self) -> str:
        """The reason why `facts` is None; empty if it is not."""
        return "" if self._counts else UNKNOWN if self._unknown else NONE_JUDGED

    def of_task(self, task_id: str) -> dict[str, object] | None:
        """The figures of one task; None if no judged reply to it says how it ended."""
        counts = self._counts.get(task_id)
        return None if counts is None else _figures(*counts)


def _figures(replies: int, cut: int, passed: int) -> dict[str, object]:
    return {
        "replies": replies,
        "cut": cut,
        "share": cut / replies,
        "finished": replies - cut,
        "finished_pass@1": passed / (replies - cut) if replies > cut else None,
        **({"warning": WARNING} if cut / replies >= WARN_FROM else {}),
    }


def cut_in_words(facts: Mapping[str, Any]) -> str:
    """The share of cut replies as a clause, such as "12 of 164 replies (7.3 %) were cut by the limit on tokens"."""
    cut, replies = facts["cut"], facts["replies"]
    if not cut:
        return f"none of {replies:,} replies was cut by the limit on tokens"
    thinking = f", {facts['cut_while_thinking']:,} of them while thinking" if facts.get("cut_while_thinking") else ""
    were = "was" if cut == 1 else "were"
    return f"{cut:,} of {replies:,} replies ({100 * facts['share']:.1f} %) {were} cut by the limit on tokens{thinking}"
