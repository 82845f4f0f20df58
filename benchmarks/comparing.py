"""How replies and logits are compared: token by token, in steps of bf16, by their distance from fp32.

Knows no model and no engine, but the Reply an engine gives.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from swarmeval.requests import Reply

FIRST_LETTER = 0x10000  # code point of token 0; from here on none is a surrogate, or part of any text we meet

Ids = tuple[int, ...]


def bf16_step(value: float) -> float:
    """The distance from a value to the next larger one that bf16, with 8 significant bits, can hold."""
    return 2.0 ** (math.frexp(value)[1] - 8) if value else 0.0


def first_difference(actual: Sequence[int], expected: Sequence[int]) -> int | None:
    """The first place where two sequences differ, where one ends included; None when they are equal."""
    for place, (mine, other) in enumerate(zip(actual, expected, strict=False)):
        if mine != other:
            return place
    return None if len(actual) == len(expected) else min(len(actual), len(expected))


def same_share(actual: Mapping[str, Ids], expected: Mapping[str, Ids]) -> float:
    """The share of jobs that got the same reply in both. Raises ValueError when they are not the same jobs."""
    if not expected or actual.keys() != expected.keys():
        raise ValueError(f"{len(actual)} replies cannot be compared with {len(expected)}: the jobs are not the same")
    return sum(actual[job] == expected[job] for job in expected) / len(expected)


@dataclass(slots=True)
class Deviation:
    """How far logits lie from those of fp32, and how often they name the same best token."""

    squares: float = 0.0
    count: int = 0
    largest: float = 0.0
    same_best: int = 0
    places: int = 0

    def add(self, logits: Tensor, exact: Tensor) -> None:
        """Both are [places, vocabulary]."""
        off = logits.float() - exact
        self.squares += float(off.square().sum(dtype=torch.float64))
        self.count += off.numel()
        self.largest = max(self.largest, float(off.abs().max()))
        self.same_best += int((logits.argmax(-1) == exact.argmax(-1)).sum())
        self.places += len(off)

    def summary(self) -> dict[str, float]:
        rms = math.sqrt(self.squares / self.count)
        return {"rms": rms, "largest": self.largest, "same_best": self.same_best / self.places, "places": self.places}


@contextmanager
def letters(tokenizer: Any) -> Iterator[None]:
    """Within it, the tokenizer decodes each token to a letter of its own, so that a reply's text says its ids."""
    tokenizer.decode = lambda ids, **_: "".join(chr(FIRST_LETTER + token) for token in ids)
    try:
        yield
    finally:
        del tokenizer.decode


def ids_of(reply: Reply) -> Ids:
    """The ids in a reply made within `letters`. Raises RuntimeError where the text is no letters."""
    ids = tuple(ord(letter) - FIRST_LETTER for letter in reply.text)
    if len(ids) != reply.output_tokens or min(ids, default=0) < 0:
        raise RuntimeError(f"{reply.job_id}: {reply.output_tokens} tokens, but its text does not say their ids")
    return ids
