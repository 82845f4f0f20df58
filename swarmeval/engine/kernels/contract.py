"""The operations that paged decoding and fused parts need from a device.

Implemented by native (C++ on the CPU) and portable (torch on any device).
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from swarmeval.engine.placed_tokens import Numbers, Tokens


class Kernels(Protocol):
    """Functions over tensors of one dtype. A pool holds the keys or values of one layer, in pages of `page` tokens."""

    dtype: torch.dtype
    page: int
    compiled: bool  # for this machine, or torch's own

    def pool(self, pages: int, heads: int, size: int) -> Tensor:
        """Memory for the keys or values of `pages` pages; the first dimension counts the pages.

        Raises Unsupported for a head size that the kernels cannot handle.
        """

    def reads(self, tokens: Tokens) -> list[Numbers]:
        """The arrays that tell `attend` where padded tokens, ordered by group, read."""

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, reads: Sequence[Tensor], scale: float) -> Tensor:
        """Attend from each token to its row's pages.

        `query` is [tokens, query heads, head size], `keys` and `values` are pools; `reads` are on the device. Returns
        the shape of the query; padding gets arbitrary numbers.
        """

    def put(self, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, page: Tensor, offset: Tensor) -> None:
        """Write keys and values [tokens, key heads, head size] to each token's page and offset; page -1 skips it."""

    def rotate_and_put(
        self, joined: Tensor, cosine: Tensor, sine: Tensor, keys: Tensor, values: Tensor, page: Tensor, offset: Tensor
    ) -> None:
        """Apply the rotary embedding to queries and keys in place, then write keys and values as `put` does.

        `joined` is [tokens, query heads + key heads + value heads, head size]; `cosine` and `sine` are [1, tokens, head
        size].
        """

    def rms_norm(self, values: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """Divide by the root mean square over the last dimension and multiply by the weight."""

    def gate(self, joined: Tensor) -> Tensor:
        """silu(gate) * up, for `joined` [..., gate then up]."""
