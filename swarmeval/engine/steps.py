"""The steps of a decoder as forward passes over buffers: their shapes, what lies in the buffers, and who runs them.

Knows no CUDA (see graphs), no model and no keys and values (see slots).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from swarmeval.engine.upload import upload

BLOCK = 128  # tokens by which lengths grow where they are rounded


@dataclass(frozen=True, slots=True)
class Shape:
    """A step computes so many rows, and reads so many tokens of each."""

    rows: int
    length: int

    def rounded(self, most_rows: int) -> "Shape":
        """Rows up to a power of two or to `most_rows`, the length up to whole blocks: few shapes for many steps."""
        return Shape(min(1 << (self.rows - 1).bit_length(), most_rows), -(-self.length // BLOCK) * BLOCK)

    def holds(self, other: "Shape") -> bool:
        return other.rows <= self.rows and other.length <= self.length

    def joined(self, other: "Shape") -> "Shape":
        return Shape(max(self.rows, other.rows), max(self.length, other.length))


class Inputs:
    """What a step is told beside keys and values, in memory that stays where it is.

    Three numbers a row: its token's id, its place in the row's slot, its position in the text. Rows that only fill a
    shape up are token 0 at place 0 of slots that no row has.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self._numbers = torch.zeros(3 * rows, dtype=torch.long, device=device)
        self._slots = torch.arange(rows, device=device)

    def write(self, rows: int, tokens: Sequence[int], places: Sequence[int], positions: Sequence[int]) -> None:
        """For a step of so many rows, those that fill up included."""
        filling = [0] * (rows - len(tokens))
        numbers = [*tokens, *filling, *places, *filling, *positions, *filling]
        self._numbers[: 3 * rows] = upload(numbers, torch.long, self._numbers.device)

    def numbers(self, rows: int) -> Tensor:
        """[3, rows]: ids, places, positions."""
        return self._numbers[: 3 * rows].view(3, rows)

    def slots(self, rows: int) -> Tensor:
        """[rows]: row i has slot i."""
        return self._slots[:rows]


class Step(Protocol):
    """Runs forward passes that read and write memory which stays where it is."""

    def run(self, shape: Shape, forward: Callable[[], Tensor]) -> Tensor:
        """The logits that `forward` gives for a step of this shape, not to be written over: [rows, vocabulary].

        Until `forget`, forwards of one shape differ in nothing but what the memory holds: any of them may be run.
        """

    def forget(self) -> None:
        """Drop all that was kept of forwards: memory that they use moves, or is to be given back."""


class Eager:
    """Runs every forward as it comes."""

    def run(self, shape: Shape, forward: Callable[[], Tensor]) -> Tensor:
        return forward()

    def forget(self) -> None:
        pass
