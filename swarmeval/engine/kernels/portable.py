"""Kernels in torch, for any device: paged attention as two ragged attentions.

A prompt's pages are read once per step for all rows that share them, and each row's own pages once; the two results
are merged by log-sum-exp (Zheng et al. 2024, BatchLLM). Tensors say which rows share, so a recorded step stays valid
while rows join, fork and leave.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from swarmeval.engine.kernels.pointwise import PLAIN, SmallFunctions
from swarmeval.engine.kernels.ragged_attention import RaggedAttention, Segments
from swarmeval.engine.placed_tokens import Numbers, Tokens


class PortableKernels:
    """Kernels over a RaggedAttention.

    Pools are [pages + 1, page, heads, head size]; padding writes to the last page.
    """

    def __init__(
        self, attention: RaggedAttention, dtype: torch.dtype, device: torch.device, functions: SmallFunctions = PLAIN
    ) -> None:
        self.dtype = dtype
        self.compiled = functions != PLAIN
        self._functions = functions
        self.page = attention.page
        self._attention = attention
        self._device = device

    def pool(self, pages: int, heads: int, size: int) -> Tensor:
        # Zeros: places beyond a row's length get the weight 0, and 0 * nan is nan.
        return torch.zeros(pages + 1, self.page, heads, size, dtype=self.dtype, device=self._device)

    def reads(self, tokens: Tokens) -> list[Numbers]:
        """Ends, lengths and table of the segments of the prompt part, then those of the answer part.

        A step that decodes one token per row has as many segments as tokens, so that its shapes depend on little else.
        """
        real = int((tokens.row >= 0).sum())
        size = len(tokens.ids)
        each_row_once = len(np.unique(tokens.row[:real])) == real
        segments = size if each_row_once else 0
        if not tokens.own.any():
            return [*self._segments(tokens, tokens.row[:real], tokens.shared, 0, segments), *_NO_SEGMENTS]
        prompt_pages = -(-tokens.shared // self.page)
        return [
            *self._segments(tokens, tokens.group[:real], tokens.shared, 0, segments),
            *self._segments(tokens, tokens.row[:real], tokens.own, prompt_pages, segments),
        ]

    def _segments(
        self, tokens: Tokens, names: Numbers, lengths: Numbers, first_page: Numbers | int, count: int
    ) -> tuple[Numbers, Numbers, Numbers]:
        """Runs of tokens of equal name as segments, padded to `count` with empty ones. Tables begin at `first_page`."""
        ends = np.flatnonzero(np.append(names[1:] != names[:-1], True)).astype(np.int32) + 1
        last = ends - 1
        more = max(0, count - len(ends))
        width = 1 << int(-(-lengths[last].max() // self.page) - 1).bit_length()
        columns = np.broadcast_to(np.asarray(first_page), names.shape if np.ndim(first_page) == 0 else len(tokens.ids))
        columns = np.minimum(columns[last, None] + np.arange(width), tokens.table.shape[1] - 1)
        return (
            np.pad(np.append(np.int32(0), ends), (0, more), mode="edge"),
            np.pad(lengths[last], (0, more)),
            np.pad(tokens.table[last[:, None], columns], ((0, more), (0, 0))),
        )

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, reads: Sequence[Tensor], scale: float) -> Tensor:
        ends, lengths, table, own_ends, own_lengths, own_table = reads
        tokens, answering = len(query), len(own_lengths) > 0
        query = query.contiguous()
        segments = Segments(ends, lengths, table, longest=tokens, causal=not answering)
        prompt, prompt_sum = self._attention(query, keys, values, segments, scale)
        if not answering:
            return prompt
        longest = 1 if len(own_lengths) == tokens else tokens
        segments = Segments(own_ends, own_lengths, own_table, longest, causal=True)
        own, own_sum = self._attention(query, keys, values, segments, scale)
        return self._functions.merged(prompt, prompt_sum, own, own_sum)

    def put(self, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, page: Tensor, offset: Tensor) -> None:
        self._functions.put(key, value, keys, values, page, offset)

    def rotate_and_put(
        self, joined: Tensor, cosine: Tensor, sine: Tensor, keys: Tensor, values: Tensor, page: Tensor, offset: Tensor
    ) -> None:
        self._functions.rotate_and_put(joined, cosine[0], sine[0], keys, values, page, offset)

    def rms_norm(self, values: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        # Two dimensions for all callers, so that one compiled function serves them.
        return self._functions.rms_norm(values.reshape(-1, len(weight)), weight, epsilon).view(values.shape)

    def gate(self, joined: Tensor) -> Tensor:
        size = joined.shape[-1]
        return self._functions.gate(joined.reshape(-1, size)).view(*joined.shape[:-1], size // 2)


_NO_SEGMENTS = (np.zeros(1, np.int32), np.zeros(0, np.int32), np.zeros((0, 1), np.int32))
