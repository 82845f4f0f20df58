"""What the decode loop needs of whatever turns tokens into logits."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Decoder(Protocol):
    """Rows 0..n-1 of one model. New rows join at the end; the last row takes the place of one that leaves."""

    def join(self, prompt: tuple[int, ...], new_tokens: int) -> int | None:
        """Add a row for a prompt and so many tokens after it; give the tokens that must go through the model first.

        None: there is no memory for it now, and there will be when rows have left. With no rows there always is.
        """

    def prefill(self) -> Tensor:
        """Take in the prompts of the rows that joined last; give the logits after them: [those rows, vocabulary]."""

    def decode(self, tokens: Sequence[int]) -> Tensor:
        """Add one token to every row; give the logits after it: [rows, vocabulary]."""

    def evict(self, row: int) -> None: ...

    def clear(self) -> None:
        """Forget all rows, and give back the memory they took."""
