"""RaggedAttention: a plain reference for any device, and torch's FlashAttention over pages on CUDA."""

import logging
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

REFERENCE_PAGE = 16
FLASH_PAGE = 256  # FlashAttention 2 reads pages of multiples of 256 tokens
_TOLERANCE = 0.02  # of the norm; 16-bit rounding reaches 0.005

log = logging.getLogger("swarmeval")


@dataclass(frozen=True, slots=True)
class Segments:
    """Consecutive queries that attend to the pages of one table row each. Tensors are int32, on the device."""

    ends: Tensor  # [segments + 1]: segment i has the queries ends[i] to ends[i + 1]
    lengths: Tensor  # [segments]: tokens to attend to
    table: Tensor  # [segments, any]: the pages that hold them
    longest: int  # no segment has more queries
    causal: bool  # the last query attends to all tokens, each earlier one to one token less


class RaggedAttention(Protocol):
    """Attention of segments of queries, of any length, to pages."""

    page: int  # tokens per page

    def __call__(
        self,
        query: Tensor,  # [tokens, query heads, head size]
        keys: Tensor,  # [pages, page, key heads, head size]
        values: Tensor,  # like keys
        segments: Segments,
        scale: float,
    ) -> tuple[Tensor, Tensor]:
        """The output in the query's shape, and the log-sum-exp of the scores [tokens, query heads], fp32.

        Queries outside the segments get arbitrary numbers.
        """


class ReferenceAttention:
    """Attention by its formula, in fp32, with a copy of the keys per query. For tests and checks; can be recorded."""

    def __init__(self, page: int = REFERENCE_PAGE) -> None:
        self.page = page

    def __call__(
        self, query: Tensor, keys: Tensor, values: Tensor, segments: Segments, scale: float
    ) -> tuple[Tensor, Tensor]:
        share, ends, lengths = query.shape[1] // keys.shape[2], segments.ends, segments.lengths
        places = torch.arange(len(query), device=query.device)
        segment = torch.searchsorted(ends[1:].contiguous(), places, right=True).clamp(max=len(lengths) - 1)
        seen = lengths[segment] - (ends[1:][segment] - 1 - places if segments.causal else 0)
        key, value = (
            pool[segments.table[segment].long()]
            .flatten(1, 2)
            .float()[:, :, :, None]
            .expand(-1, -1, -1, share, -1)
            .flatten(2, 3)
            for pool in (keys, values)
        )  # [tokens, any, query heads, head size]
        scores = torch.einsum("qhd,qkhd->qhk", query.float(), key) * scale
        hidden = torch.arange(scores.shape[-1], device=query.device) >= seen[:, None, None]
        scores = scores.masked_fill(hidden, -torch.inf)
        return torch.einsum("qhk,qkhd->qhd", scores.softmax(-1), value).to(query.dtype), scores.logsumexp(-1)


class FlashAttention:
    """torch's varlen_attn over pages (torch 2.13 and newer)."""

    page = FLASH_PAGE

    def __init__(self, with_key_ends: bool) -> None:
        """`with_key_ends` passes key offsets too, which FlashAttention 2 demands in some versions and never reads."""
        from torch.nn.attention.varlen import AuxRequest, varlen_attn

        self._attend = varlen_attn
        self._wanted = AuxRequest(lse=True)
        self._with_key_ends = with_key_ends

    def __call__(
        self, query: Tensor, keys: Tensor, values: Tensor, segments: Segments, scale: float
    ) -> tuple[Tensor, Tensor]:
        output, log_sums = self._attend(
            query,
            keys,
            values,
            segments.ends,
            segments.ends if self._with_key_ends else None,
            segments.longest,
            segments.table.shape[1] * self.page,
            return_aux=self._wanted,
            scale=scale,
            window_size=(-1, 0) if segments.causal else (-1, -1),
            enable_gqa=True,
            seqused_k=segments.lengths,
            block_table=segments.table,
            num_splits=1,  # a row's bits do not depend on its neighbours
        )
        # Its code gives [heads, tokens], its documentation [tokens, heads].
        return output, log_sums.T if len(log_sums) == query.shape[1] else log_sums


def flash_attention(device: torch.device, dtype: torch.dtype) -> FlashAttention | None:
    """FlashAttention that agrees with the reference on this device; None, with the reason logged, if none does."""
    reasons = []
    for with_key_ends in (False, True):
        try:
            attention = FlashAttention(with_key_ends)
            error = difference(attention, device, dtype)
        except (ImportError, TypeError, RuntimeError, ValueError) as fault:  # older torch, or no kernel for the device
            reasons.append(f"{type(fault).__name__}: {fault}".splitlines()[0])
            continue
        if error <= _TOLERANCE:
            return attention
        reasons.append(f"its output differs by {error:.2g} of its norm")
    log.warning("no FlashAttention over pages: %s", reasons[-1])
    return None


@torch.inference_mode()
def difference(attention: RaggedAttention, device: torch.device, dtype: torch.dtype) -> float:
    """The largest relative error of output and log-sum-exp, against the reference in fp32.

    Tries segments of several and of single queries, grouped heads, partly filled pages, and empty segments.
    """
    page, heads, size = attention.page, 2, 64
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    def numbers(*values: object) -> Tensor:
        return torch.tensor(values, dtype=torch.int32, device=device)

    keys, values, query = normal(6, page, heads, size), normal(6, page, heads, size), normal(8, 3 * heads, size)
    lengths, table = numbers(page + 9, 40, 7, 0), numbers([3, 1], [4, 2], [0, 5], [0, 0])
    worst = 0.0
    for ends, longest, causal in ((numbers(0, 5, 7, 8, 8), 8, False), (numbers(0, 5, 7, 8, 8), 8, True),
                                  (numbers(0, 1, 2, 3, 3), 1, True)):  # fmt: skip
        segments = Segments(ends, lengths, table, longest, causal)
        found = attention(query, keys, values, segments, size**-0.5)
        wide = query.float(), keys.float(), values.float()
        expected = ReferenceAttention(page)(*wide, segments, size**-0.5)
        used = int(ends[-1])
        for one, other in zip(found, expected, strict=True):
            error = (one[:used].float() - other[:used]).norm() / other[:used].norm()
            worst = max(worst, float(error.nan_to_num(torch.inf)))
    return worst
