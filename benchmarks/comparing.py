"""Comparison of replies and logits: token by token, in bf16 steps, and by the error relative to fp32.

Does not know about models or engines, except for the engine's Reply.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from swarmeval.requests import Reply

FIRST_LETTER = 0x10000  # code point for token 0: above all surrogates and all characters of our texts

Ids = tuple[int, ...]


def bf16_step(value: float) -> float:
    """The distance from a value to the next larger bf16 value (8 significant bits)."""
    return 2.0 ** (math.frexp(value)[1] - 8) if value else 0.0


def first_difference(actual: Sequence[int], expected: Sequence[int]) -> int | None:
    """The first index at which two sequences differ, including the end of the shorter one; None if they are equal."""
    for place, (mine, other) in enumerate(zip(actual, expected, strict=False)):
        if mine != other:
            return place
    return None if len(actual) == len(expected) else min(len(actual), len(expected))


def same_share(actual: Mapping[str, Ids], expected: Mapping[str, Ids]) -> float:
    """The share of jobs with the same reply in both. Raises ValueError if the jobs differ."""
    if not expected or actual.keys() != expected.keys():
        raise ValueError(f"{len(actual)} replies cannot be compared with {len(expected)}: the jobs are not the same")
    return sum(actual[job] == expected[job] for job in expected) / len(expected)


@dataclass(slots=True)
class Deviation:
    """Error of logits relative to fp32, and how often both have the same best token."""

    squares: float = 0.0
    count: int = 0
    largest: float = 0.0
    same_best: int = 0
    places: int = 0

    def add(self, logits: Tensor, exact: Tensor) -> None:
        """Add logits and their fp32 reference, [places, vocabulary] each."""
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
    """Make the tokenizer decode each token to a unique character, so that token ids can be read off a reply's text."""
    tokenizer.decode = lambda ids, **_: "".join(chr(FIRST_LETTER + token) for token in ids)
    try:
        yield
    finally:
        del tokenizer.decode


def ids_of(reply: Reply) -> Ids:
    """The token ids of a reply generated inside `letters`. Raises RuntimeError if the text does not encode ids."""
    ids = tuple(ord(letter) - FIRST_LETTER for letter in reply.text)
    if len(ids) != reply.output_tokens or min(ids, default=0) < 0:
        raise RuntimeError(f"{reply.job_id}: {reply.output_tokens} tokens, but the text does not encode their ids")
    return ids
