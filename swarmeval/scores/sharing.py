"""Sharing among agents: tokens that jobs received, against tokens that went through the model.

Pure arithmetic on score.json. Fleets that do not report computed tokens have no figures here, rather than guesses.
"""

from collections.abc import Mapping
from typing import Any

from swarmeval.scores.stats import rate

LEAST = 1.05  # a smaller factor is not worth a sentence


def sharing(output_tokens: int, computed_tokens: int | None, seconds: float) -> dict[str, object]:
    """Entries of score.json; empty if the number of computed tokens is unknown."""
    if computed_tokens is None or not seconds:
        return {}
    return {
        "computed_tokens": computed_tokens,
        "computed_tokens_per_s": rate(computed_tokens, seconds),
        "sharing_factor": output_tokens / computed_tokens if computed_tokens else None,
    }


def tokens_in_words(score: Mapping[str, Any], agents: int) -> str:
    """Both numbers of tokens, and how many agents would have cost as much without sharing; "" if unknown."""
    computed = score.get("computed_tokens")
    if not computed:
        return ""
    words = f"{score['output_tokens']:,} delivered, {computed:,} computed"
    cost = cost_in_words(score, agents)
    return f"{words}: {cost}" if cost else words


def cost_in_words(score: Mapping[str, Any], agents: int) -> str:
    """ "50 agents cost what 4.3 would have cost alone"; "" if unknown, or if almost nothing was shared."""
    factor = score.get("sharing_factor")
    if not factor or factor < LEAST or agents < 2:
        return ""
    return f"{agents:,} agents cost what {agents / factor:.1f} would have cost alone"
