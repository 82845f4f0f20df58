"""The interface between the decode loop and the decoders, which turn tokens into logits."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

# Exceptions of a model that a decoder or a kernel does not suit. NotImplementedError comes from our own parts.
MODEL_FAULTS = (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)


class Decoder(Protocol):
    """Decodes rows 0..n-1 of one model. New rows join at the end; the last row takes the place of an evicted one."""

    def join(self, prompt: tuple[int, ...], new_tokens: int) -> int | None:
        """Add a row for a prompt and up to `new_tokens` after it; return the number of tokens to prefill.

        Returns None if memory is short until other rows leave. A decoder without rows always has enough.
        """

    def prefill(self) -> Tensor:
        """Prefill the rows that joined since the last call; return their next-token logits [new rows, vocabulary]."""

    def decode(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to every row; return the next-token logits: [rows, vocabulary]."""

    def evict(self, row: int) -> None: ...

    def clear(self) -> None:
        """Drop all rows and free their memory."""
