"""Decoder steps as forward passes over fixed buffers: their shapes, their inputs, and the interface to run them.

Does not know about CUDA (see graphs), models, or the KV cache (see slots).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from swarmeval.engine.upload import upload

BLOCK = 128  # tokens: rounded lengths are multiples of it


@dataclass(frozen=True, slots=True)
class Shape:
    """Number of rows that a step computes, and number of tokens that it reads per row."""

    rows: int
    length: int

    def rounded(self, most_rows: int) -> "Shape":
        """Round the rows up to a power of two (at most `most_rows`) and the length up to a multiple of BLOCK.

        Many steps then share few shapes.
        """
        return Shape(min(1 << (self.rows - 1).bit_length(), most_rows), -(-self.length // BLOCK) * BLOCK)

    def holds(self, other: "Shape") -> bool:
        return other.rows <= self.rows and other.length <= self.length

    def joined(self, other: "Shape") -> "Shape":
        return Shape(max(self.rows, other.rows), max(self.length, other.length))


class Inputs:
    """The inputs of a step other than the KV cache, in buffers at fixed addresses.

    Each row has three numbers: its token's id, place in the slot and position in the text. Padding rows are token 0 at
    place 0 of unused slots.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self._numbers = torch.zeros(3 * rows, dtype=torch.long, device=device)
        self._slots = torch.arange(rows, device=device)

    def write(self, rows: int, tokens: Sequence[int], places: Sequence[int], positions: Sequence[int]) -> None:
        """Fill the buffers for a step of `rows` rows, padding included."""
        filling = [0] * (rows - len(tokens))
        numbers = [*tokens, *filling, *places, *filling, *positions, *filling]
        self._numbers[: 3 * rows] = upload(numbers, torch.long, self._numbers.device)

    def numbers(self, rows: int) -> Tensor:
        """[3, rows]: ids, places, positions."""
        return self._numbers[: 3 * rows].view(3, rows)

    def slots(self, rows: int) -> Tensor:
        """[rows]: slot numbers; row i uses slot i."""
        return self._slots[:rows]


Forward = Callable[[], tuple[Tensor, ...]]


class Step(Protocol):
    """Runs forward passes over memory at fixed addresses."""

    def run(self, shape: Hashable, forward: Forward) -> tuple[Tensor, ...]:
        """Run a step of this shape; return its results, which later steps do not overwrite.

        Until `forget`, forwards of equal shape differ only in the contents of the buffers, so an earlier one may be
        replayed instead of `forward`.
        """

    def forget(self) -> None:
        """Drop all recorded forwards: the memory that they use is about to move or be freed."""


class Eager:
    """Runs every forward directly, without recording."""

    def run(self, shape: Hashable, forward: Forward) -> tuple[Tensor, ...]:
        return forward()

    def forget(self) -> None:
        pass
