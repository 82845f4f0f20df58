"""Agreement among the replies to one task: distinct replies and programs, and the text that replies share."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts of the first answers to one task."""

    replies: int
    distinct_replies: int
    distinct_programs: int
    characters: int  # of all replies
    distinct_characters: int  # the beginnings that replies share counted once: the size of their prefix tree


def agreement(replies: Sequence[str], programs: Sequence[str]) -> Agreement:
    """Count what these replies and their programs share."""
    texts = sorted(set(replies))
    shared = sum(common_start(one, other) for one, other in pairwise(texts))
    return Agreement(
        len(replies), len(texts), len(set(programs)), sum(map(len, replies)), sum(map(len, texts)) - shared
    )


def common_start(one: str, other: str) -> int:
    """The number of characters that two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low
