"""Acceptance of drafted tokens in speculative decoding. Pure arithmetic on counts."""

from collections.abc import Mapping
from typing import Any


def speculation(verifications: int, accepted_tokens: int, draft_tokens: int | None) -> dict[str, object]:
    """The entry of score.json. `acceptance_rate` is absent if the number of drafted tokens is unknown."""
    figures: dict[str, object] = {"verifications": verifications, "accepted_tokens": accepted_tokens}
    if draft_tokens:
        figures |= {"draft_tokens": draft_tokens, "acceptance_rate": accepted_tokens / draft_tokens}
    figures["accepted_per_verification"] = accepted_tokens / verifications if verifications else None
    return figures


def in_words(score: Mapping[str, Any]) -> str:
    """The acceptance in one line; "" if the run did not speculate."""
    figures = score.get("speculation")
    if not figures or figures["accepted_per_verification"] is None:
        return ""
    each = f"{figures['accepted_per_verification']:.2f} drafted tokens accepted per step"
    if "acceptance_rate" not in figures:
        return each
    return f"{100 * figures['acceptance_rate']:.1f} % of {figures['draft_tokens']:,} drafted tokens accepted; {each}"
