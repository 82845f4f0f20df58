"""Replies that the limit on tokens cut, for a report: in all, and where they are most frequent."""

from collections.abc import Mapping
from typing import Any

from swarmeval.runs.answer_index import AnswerIndex, Ends
from swarmeval.scores.truncation import WARN_FROM, WARNING, cut_in_words

SHOWN = 10  # tasks, and agents


def cut_replies(answers: AnswerIndex, score: Mapping[str, Any]) -> dict[str, Any] | None:
    """The figures of first answers; None if no reply says how it ended.

    They come from the journal, so that runs in progress have them too. Only pass@1 of the finished replies comes from
    the score.
    """
    of_tasks = answers.ends_of_tasks
    replies, cut = (sum(counts) for counts in zip(*of_tasks.values(), strict=True)) if of_tasks else (0, 0)
    if not replies:
        return None
    truncation = score.get("truncation") or {}
    figures = {"replies": replies, "cut": cut, "share": cut / replies}
    thinking = {key: truncation[key] for key in ("cut_while_thinking",) if key in truncation}
    sentence = cut_in_words({**figures, **thinking})
    return {
        **figures,
        "words": f"{sentence[0].upper()}{sentence[1:]}.",
        "warning": f"{WARNING[0].upper()}{WARNING[1:]}." if cut / replies >= WARN_FROM else "",
        "finished": truncation.get("finished_pass@1"),
        "interval": truncation.get("finished_pass@1_interval"),
        "tables": [("task", _most_cut(of_tasks)), ("agent", _most_cut(answers.ends_of_agents))] if cut else [],
    }


def _most_cut(ends: Mapping[Any, Ends]) -> list[tuple[str, int, int, float]]:
    """(name, cut replies, replies, share), the largest shares first."""
    rows = [(str(name), cut, replies, cut / replies) for name, (replies, cut) in ends.items() if cut]
    return sorted(rows, key=lambda row: -row[3])[:SHOWN]
