"""The interface between the decode loop and the decoders, which turn tokens into logits."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

# Exceptions of a model that a decoder or a kernel does not suit. RuntimeError includes Unsupported.
MODEL_FAULTS = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)

SPARE = 1  # rows for which decoder and sampler need memory beyond those in use: a fork stands beside the row it ends


class Unsupported(RuntimeError):
    """A part of the engine cannot do what this model needs; str() says what that is."""


class Decoder(Protocol):
    """Decodes rows 0..n-1 of one model. New rows are added at the end; the last row takes the place of an evicted one.

    A row holds the keys and values of a prompt and of the answer's tokens so far.
    """

    def join(self, prompt: tuple[int, ...], new_tokens: int, answer: Sequence[int] = ()) -> int | None:
        """Add a row for a prompt, the beginning of its answer, and up to `new_tokens` after the prompt in total.

        Returns the number of tokens to prefill, or None if memory is short until other rows leave. A decoder without
        rows always has enough.
        """

    def fork(self, row: int, length: int, new_tokens: int) -> bool:
        """Add a row that begins with the first `length` tokens of another one, at least its prompt.

        `new_tokens` as in join. Returns False, without a new row, if memory is short or the row cannot be cut so. No
        row may be waiting for its prefill.
        """

    def extend(self, row: int, new_tokens: int) -> bool:
        """Reserve memory for more `new_tokens` than the row joined with. Returns False if memory is short."""

    def prefill(self) -> Tensor:
        """Prefill the rows that joined since the last call; return their next-token logits [new rows, vocabulary]."""

    def decode(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to every row; return the next-token logits: [rows, vocabulary]."""

    def evict(self, row: int) -> None: ...

    def clear(self) -> None:
        """Drop all rows and free their memory."""
