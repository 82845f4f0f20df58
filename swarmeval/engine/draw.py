"""Drawing tokens from rows of scores: best-first selection, top_k, top_p, min_p, any number of uniforms per row.

Temperature, top_k, top_p and min_p are applied in transformers' order. Does not know about models or queues.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from swarmeval.engine.kernels.native import NativeKernels

WINDOW = 128  # best tokens considered per row before the whole vocabulary is sorted
NO_TOKEN = -1  # stands in for a token id if the scores are NaN
KEPT_TOKENS = 48  # best tokens kept of each distribution; see RESULTS.md
_BLOCK = 16  # tokens per block of `topk`; about the square root of vocabulary / WINDOW


@dataclass(frozen=True, slots=True)
class Penalty:
    """A repetition penalty per row and the tokens it applies to (Keskar et al. 2019)."""

    history: Tensor  # [rows, any] token ids, padded with ids that occur in the row anyway
    lengths: Tensor  # [rows], int32: tokens before the padding
    strength: Tensor  # [rows], fp32


@dataclass(frozen=True, slots=True)
class Adjustments:
    """Changes to the logits of some rows that depend on the output so far, or on nothing.

    The bias comes first and the others after the repetition penalty, as in vLLM (vllm/v1/sample/sampler.py). Presence
    and frequency penalty are those of the OpenAI API: logit - count x frequency - (count > 0) x presence.
    """

    output: Tensor  # [rows, any] token ids of the output, with padding before and after them
    counted: Tensor  # [rows, any] bool: which of them are no padding
    presence: Tensor  # [rows], fp32
    frequency: Tensor  # [rows], fp32
    biased: tuple[Tensor, Tensor]  # row and token id of each bias
    bias: Tensor  # what is added to them, fp32

    def add_bias(self, scores: Tensor) -> Tensor:
        return scores.index_put_(self.biased, self.bias, accumulate=True)

    def penalize(self, scores: Tensor) -> Tensor:
        counts = torch.zeros_like(scores).scatter_add_(1, self.output, self.counted.float())
        return scores.sub_(counts * self.frequency[:, None]).sub_((counts > 0) * self.presence[:, None])


@dataclass(frozen=True, slots=True)
class SamplingLimits:
    """Sampling settings of the rows: [rows] each."""

    temperature: Tensor  # fp32
    top_k: Tensor  # int64; 0: no limit
    top_p: Tensor  # fp32
    unlimited: Tensor | None  # indexes of rows, among them all whose top_k is 0 or covers the vocabulary
    min_p: Tensor | None = None  # fp32; None: no row has one

    def of(self, rows: Tensor) -> "SamplingLimits":
        """The settings of some rows, by index, for a draw over the whole vocabulary."""
        min_p = None if self.min_p is None else self.min_p[rows]
        return SamplingLimits(self.temperature[rows], self.top_k[rows], self.top_p[rows], None, min_p)


class Scores:
    """Penalized logits: [rows, vocabulary] of any float type. With `kernels`, compiled code finds the best of them.

    Adjustments go without them.
    """

    def __init__(
        self,
        logits: Tensor,
        penalty: Penalty | None = None,
        kernels: NativeKernels | None = None,
        adjustments: Adjustments | None = None,
    ) -> None:
        self._logits = logits
        self._penalty = penalty
        self._adjustments = adjustments
        fits = kernels is not None and kernels.dtype == logits.dtype and adjustments is None
        self._kernels = kernels if fits else None
        self.rows, self.vocabulary = logits.shape

    @cached_property
    def whole(self) -> Tensor:
        """All scores: [rows, vocabulary], fp32."""
        scores = self._logits.float()
        if self._penalty is None and self._adjustments is None:
            return scores
        # float() returns its input if that is fp32 already; nothing may write into the caller's logits.
        scores = scores.clone() if scores is self._logits else scores
        if self._adjustments is not None:
            scores = self._adjustments.add_bias(scores)
        if self._penalty is not None:
            scores = penalized(scores, self._penalty)
        return scores if self._adjustments is None else self._adjustments.penalize(scores)

    def of(self, rows: Tensor) -> Tensor:
        """The scores of some rows, by mask or index, fp32."""
        if "whole" in vars(self) or self._adjustments is not None:
            return self.whole[rows]
        penalty = self._penalty
        penalty_of_rows = penalty and Penalty(penalty.history[rows], penalty.lengths[rows], penalty.strength[rows])
        return Scores(self._logits[rows], penalty_of_rows).whole

    def best(self, width: int) -> tuple[Tensor, Tensor]:
        """The best scores of each row and their ids, best first, ties by id: [rows, width] each."""
        if self._kernels is not None and width <= WINDOW:
            penalty = self._penalty or _no_penalty(self.rows)
            return self._kernels.best(self._logits, penalty.history, penalty.lengths, penalty.strength, width)
        if width >= self.vocabulary:
            values, ids = self.whole.sort(dim=-1, descending=True, stable=True)
            return values, ids
        # topk leaves the order of ties undefined, and ties are frequent among bf16 logits.
        values, ids = topk(self.whole, width)
        ids, order = ids.sort(dim=-1)
        values, order = values.gather(1, order).sort(dim=-1, descending=True, stable=True)
        return values, ids.gather(1, order)

    @property
    def is_compiled(self) -> bool:
        """Whether compiled code finds the best scores, so that `whole` need not be computed."""
        return self._kernels is not None


def penalized(scores: Tensor, penalty: Penalty) -> Tensor:
    """Apply the penalty to the tokens of the history, in place."""
    seen = scores.gather(1, penalty.history)
    strength = penalty.strength[:, None]
    return scores.scatter_(1, penalty.history, torch.where(seen < 0, seen * strength, seen / strength))


def _no_penalty(rows: int) -> Penalty:
    return Penalty(torch.zeros(rows, 1, dtype=torch.long), torch.zeros(rows, dtype=torch.int32), torch.ones(rows))


@dataclass(frozen=True, slots=True)
class Distribution:
    """The best tokens of each row, best first, with their cumulative weights after top_k and top_p."""

    ids: Tensor  # [rows, width]
    reached: Tensor  # [rows, width] fp64: weight of this token and all better ones
    total: Tensor  # [rows] fp64: weight of all kept tokens, inside these `width` and beyond
    kept: Tensor  # [rows]: tokens among these with a weight; 0 if the scores are NaN
    certain: Tensor  # [rows]: whether these tokens alone decide which ones are kept
    whole: bool  # whether the width is the vocabulary

    def draw(self, rows: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a token for each uniform [draws, fp64] from its row [draws]; also return which draws are undecided.

        The id is NO_TOKEN if the scores are NaN. An undecided draw needs a Distribution over the whole vocabulary.
        """
        reached = self.reached[rows]
        target = uniform * self.total[rows]
        place = (reached <= target[:, None]).sum(dim=-1)
        last = self.kept[rows] - 1
        tokens = self.ids[rows, torch.minimum(place, last).clamp(min=0)]
        decided = self.certain[rows] & ((target < reached[:, -1]) | self.whole)
        return torch.where(last >= 0, tokens, NO_TOKEN), ~decided


class KeptDistribution:
    """The best KEPT_TOKENS of a Distribution, kept after its step for requests that come along later."""

    row_bytes = KEPT_TOKENS * 12

    def __init__(self, distribution: Distribution) -> None:
        best = slice(0, KEPT_TOKENS)
        self._tensors = (
            distribution.ids[:, best].int(), distribution.reached[:, best].clone(), distribution.total,
            distribution.certain,
        )  # fmt: skip

    def draw(self, row: int, uniform: float) -> int | None:
        """The token that a Distribution would draw; None if the kept tokens do not decide it."""
        ids, reached, total, certain = self._on_host
        target = uniform * total[row]
        if not certain[row] or not target < reached[row, -1]:
            return None
        return int(ids[row, np.searchsorted(reached[row], target, side="right")])

    @cached_property
    def _on_host(self) -> tuple[NDArray[Any], ...]:
        arrays = tuple(tensor.cpu().numpy() for tensor in self._tensors)
        del self._tensors
        return arrays


def distribution(scores: Scores, limits: SamplingLimits, window: int = WINDOW) -> Distribution:
    """The distribution of each row over its best `window` tokens."""
    width = min(window, scores.vocabulary)
    values, ids = scores.best(width)
    weights, total, certain = _filtered(scores, values, limits)
    kept = (weights > 0).sum(dim=-1)
    return Distribution(ids, weights.cumsum(dim=-1), total, kept, certain, width == scores.vocabulary)


def likeliest(scores: Scores) -> Distribution:
    """The distribution of greedy rows: the token with the best score, ties by id."""
    values, ids = scores.best(1) if scores.is_compiled else scores.whole.max(dim=-1, keepdim=True)
    ones = torch.ones_like(values, dtype=torch.float64)
    kept = (values > -torch.inf)[:, 0].long()  # not true of NaN
    return Distribution(ids, ones, ones[:, 0], kept, torch.ones_like(kept, dtype=torch.bool), False)


def topk(scores: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The `width` best scores of each row and their ids, in any order.

    Block j holds the tokens j, j + blocks, j + 2 blocks, ... The best scores lie in the `width` blocks with the highest
    maxima, or in the remainder after the last whole block. Searching only those takes a third of the time.
    """
    vocabulary = scores.shape[1]
    blocks = vocabulary // _BLOCK
    if blocks <= width:
        return scores.topk(width, dim=-1, sorted=False)
    whole = scores[:, : blocks * _BLOCK].view(-1, _BLOCK, blocks)
    best = whole.amax(dim=1).topk(width, dim=-1, sorted=False).indices  # [rows, width] block numbers
    in_blocks = whole.gather(2, best[:, None, :].expand(-1, _BLOCK, -1)).flatten(1)
    rest = scores[:, blocks * _BLOCK :]
    candidates = torch.cat([in_blocks, rest], dim=1) if rest.shape[1] else in_blocks
    values, places = candidates.topk(width, dim=-1, sorted=False)
    ids = best.gather(1, places % width) + places // width * blocks
    return values, torch.where(places < in_blocks.shape[1], ids, places - in_blocks.shape[1] + blocks * _BLOCK)


def _filtered(scores: Scores, values: Tensor, limits: SamplingLimits) -> tuple[Tensor, Tensor, Tensor]:
    """Apply temperature, top_k, top_p and min_p to the best scores of each row.

    Returns their weights [rows, width], 0 for dropped tokens; the total weight of all kept tokens, inside and beyond
    the window [rows]; and whether the window alone decides which tokens are kept [rows].
    """
    width, vocabulary = values.shape[1], scores.vocabulary
    everything = width == vocabulary
    top_k, top_p, temperature = limits.top_k, limits.top_p, limits.temperature[:, None]
    limited = (top_k > 0) & (top_k <= width)
    unlimited = (top_k == 0) | (top_k >= vocabulary)
    # top_k keeps every score equal to the k-th, as transformers does.
    kth = values.gather(1, (top_k.clamp(1, width) - 1)[:, None])
    in_k = (values >= kth) | ~limited[:, None]
    weights = ((values - values[:, :1]) / temperature).double().exp() * in_k
    mass = weights.sum(dim=-1)
    if not everything and limits.unlimited is not None:  # summing over the vocabulary costs ten times the rest
        rows = limits.unlimited
        beyond = ((scores.of(rows) - values[rows, :1]) / temperature[rows]).exp()
        mass[rows] = torch.where(unlimited[rows], beyond.sum(dim=-1, dtype=torch.float64), mass[rows])
    weights = weights / mass[:, None]
    before = weights.cumsum(dim=-1) - weights
    in_p = (before < top_p[:, None]) | (top_p >= 1.0)[:, None]
    if limits.min_p is not None:
        in_p &= weights >= limits.min_p[:, None] * weights[:, :1]
    in_p[:, 0] = True
    filtered = weights * in_p
    nothing_dropped = unlimited & (top_p >= 1.0)  # not even beyond the window
    if limits.min_p is not None:
        nothing_dropped &= limits.min_p <= 0
    certain = (limited & (values[:, -1:] < kth)[:, 0]) | (unlimited & ~in_p[:, -1]) | nothing_dropped
    whole = torch.where(nothing_dropped & (not everything), 1.0, filtered.sum(dim=-1))
    return filtered, whole, certain | everything
