"""Common prefixes of prompts: their lengths, and which are worth storing once. Works on token ids alone."""

from collections.abc import Iterable, Mapping
from itertools import takewhile

Prompt = tuple[int, ...]

MIN_TOKENS = 16  # sharing a shorter prefix costs more than it saves
MIN_ROWS = 3  # an extra attention call for fewer rows costs more than it saves


def common(one: Prompt, other: Prompt) -> int:
    """Length of the common prefix of two prompts, in tokens."""
    if one == other:
        return len(one)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def best_known(prompts: Iterable[Prompt], known: Iterable[Prompt]) -> tuple[Prompt, int] | None:
    """The known prompt with the longest prefix common to all prompts, and that length; None if below MIN_TOKENS.

    The last token of each prompt never counts: it must go through the model to give the next token's logits.
    """
    targets = list(prompts)
    first = targets[0]
    shared = min(min(common(first, other) for other in targets), min(map(len, targets)) - 1)
    best = max(((min(common(first, prompt), shared), prompt) for prompt in known), default=(0, ()))
    return (best[1], best[0]) if best[0] >= MIN_TOKENS else None


def worth_sharing(prompt: Prompt, rows: Mapping[Prompt, int]) -> Prompt | None:
    """The prefix of a prompt that is best stored once for all rows that have it; None if sharing does not pay.

    `rows` maps each prompt to its number of rows and includes this one. A prefix of n tokens in m rows saves each row
    n (1 - 1/m) reads per step. The longest prefix is not always best: it may be common to two or three rows only,
    while a shorter one is common to many.
    """
    lengths = {other: common(prompt, other) for other in rows}
    best, saved = 0, 0.0
    for length in sorted(set(lengths.values())):
        sharers = sum(count for other, count in rows.items() if lengths[other] >= length)
        if sharers >= MIN_ROWS and length >= MIN_TOKENS and length * (1 - 1 / sharers) > saved:
            best, saved = length, length * (1 - 1 / sharers)
    return prompt[:best] if best else None
