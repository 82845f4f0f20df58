"""The tokens of one forward over pages, on the host: each with the places where it reads and writes.

Also packs their numbers into one array, so that a forward needs a single copy to the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Numbers = NDArray[np.int32]
Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one or more forwards: arrays with one entry per token."""

    ids: Numbers
    positions: Numbers
    row: Numbers  # a row's tokens are neighbours, in the order of their positions
    table: Numbers  # [tokens, pages per row]: shared pages first, then the row's own
    shared: Numbers  # tokens to attend to in the shared pages
    own: Numbers  # tokens to attend to in the row's own pages; of all tokens of a forward or of none above 0
    group: Numbers  # tokens of one group read the same shared pages; tokens of prompts not all to the end
    page: Numbers  # page for the token's own key and value; -1: do not write
    offset: Numbers  # place in that page

    def at(self, index: slice | NDArray[np.intp]) -> "Tokens":
        """Some of the tokens."""
        return Tokens(*(getattr(self, name)[index] for name in self.__slots__))

    def padded(self, size: int) -> "Tokens":
        """The tokens and, up to `size`, tokens that neither read nor write."""
        more = size - len(self.ids)
        fillers = {"row": -1, "group": -1, "page": -1}
        return Tokens(
            *(
                np.pad(numbers, ((0, more), *((0, 0),) * (numbers.ndim - 1)), constant_values=fillers.get(name, 0))
                for name, numbers in ((name, getattr(self, name)) for name in self.__slots__)
            )
        )

    def by_group(self) -> NDArray[np.intp]:
        """The order that makes the tokens of each group neighbours, row by row."""
        return np.lexsort((self.row, self.group))


def packed(arrays: Sequence[Numbers]) -> tuple[Numbers, Shapes]:
    """All numbers in one array, and the shapes that `unpacked` needs."""
    shapes = tuple(array.shape for array in arrays)
    return np.concatenate([array.ravel() for array in arrays], dtype=np.int32), shapes


def unpacked(numbers: Tensor, shapes: Shapes) -> list[Tensor]:
    """Views of the arrays that `packed` joined."""
    ends = accumulate((prod(shape) for shape in shapes), initial=0)
    return [numbers[start:end].view(shape) for (start, end), shape in zip(pairwise(ends), shapes, strict=True)]
