"""What prompts begin with in common: how much of it, and whether it is worth keeping once. Numbers only."""

from collections.abc import Iterable, Mapping
from itertools import takewhile

Prompt = tuple[int, ...]

MIN_TOKENS = 16  # tokens: keeping fewer once costs more than it saves
MIN_ROWS = 3  # rows from which on a prefix is shared: an attention call for fewer costs more than it saves


def common(one: Prompt, other: Prompt) -> int:
    """With how many equal tokens both begin."""
    if one == other:
        return len(one)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def best_known(prompts: Iterable[Prompt], known: Iterable[Prompt]) -> tuple[Prompt, int] | None:
    """The known prompt that all the prompts have most in common with, and how many tokens; None: too little.

    The last token of every prompt is left out: it must go through the model, which says what comes after it.
    """
    targets = list(prompts)
    first = targets[0]
    shared = min(min(common(first, other) for other in targets), min(map(len, targets)) - 1)
    best = max(((min(common(first, prompt), shared), prompt) for prompt in known), default=(0, ()))
    return (best[1], best[0]) if best[0] >= MIN_TOKENS else None


def worth_sharing(prompt: Prompt, rows: Mapping[Prompt, int]) -> Prompt | None:
    """The beginning of a prompt that is best kept once for all rows that begin so; None: the row keeps its own.

    `rows`: how many rows have which prompt, this one included. A beginning of n tokens that m rows have saves each of
    them n (1 - 1/m) reads a step. The longest is not always best: agents' own prompts may part in twos and threes long
    after all of them parted from the rest.
    """
    lengths = {other: common(prompt, other) for other in rows}
    best, saved = 0, 0.0
    for length in sorted(set(lengths.values())):
        sharers = sum(count for other, count in rows.items() if lengths[other] >= length)
        if sharers >= MIN_ROWS and length >= MIN_TOKENS and length * (1 - 1 / sharers) > saved:
            best, saved = length, length * (1 - 1 / sharers)
    return prompt[:best] if best else None
