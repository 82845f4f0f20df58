"""Drawing one token per row from its scores: best-first selection, top_k and top_p, one uniform per row.

Temperature, top_k and top_p are applied in transformers' order. Does not know about models or queues.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from swarmeval.engine.native import Kernels

WINDOW = 128  # best tokens considered per row before the whole vocabulary is sorted
NO_TOKEN = -1  # stands in for a token id if the scores are NaN
_BLOCK = 16  # tokens per block of `topk`; about the square root of vocabulary / WINDOW


@dataclass(frozen=True, slots=True)
class Penalty:
    """A repetition penalty per row and the tokens it applies to (Keskar et al. 2019)."""

    history: Tensor  # [rows, any] token ids, padded with ids that occur in the row anyway
    lengths: Tensor  # [rows], int32: tokens before the padding
    strength: Tensor  # [rows], fp32


@dataclass(frozen=True, slots=True)
class SamplingLimits:
    """Sampling settings of the rows: [rows] each."""

    temperature: Tensor  # fp32
    top_k: Tensor  # int64; 0: no limit
    top_p: Tensor  # fp32
    unlimited: Tensor | None  # indexes of rows whose top_k is 0 or covers the vocabulary; read for a window only

    def of(self, rows: Tensor) -> "SamplingLimits":
        """The settings of some rows, by index, for a draw over the whole vocabulary."""
        return SamplingLimits(self.temperature[rows], self.top_k[rows], self.top_p[rows], None)


class Scores:
    """Penalized logits: [rows, vocabulary] of any float type. With `kernels`, compiled code finds the best of them."""

    def __init__(self, logits: Tensor, penalty: Penalty | None = None, kernels: Kernels | None = None) -> None:
        self._logits = logits
        self._penalty = penalty
        self._kernels = kernels if kernels is not None and kernels.dtype == logits.dtype else None
        self.rows, self.vocabulary = logits.shape

    @cached_property
    def whole(self) -> Tensor:
        """All scores: [rows, vocabulary], fp32."""
        scores = self._logits.float()
        if self._penalty is None:
            return scores
        # float() returns its input if that is fp32 already; the penalty must not write into the caller's logits.
        return penalized(scores.clone() if scores is self._logits else scores, self._penalty)

    def of(self, rows: Tensor) -> Tensor:
        """The scores of some rows, by mask or index, fp32."""
        if "whole" in vars(self):
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

    def likeliest(self) -> Tensor:
        """The id with the best score in each row, ties by id; NO_TOKEN if the scores are NaN."""
        values, ids = self.whole.max(dim=-1) if self._kernels is None else (part[:, 0] for part in self.best(1))
        return torch.where(values > -torch.inf, ids, NO_TOKEN)


def penalized(scores: Tensor, penalty: Penalty) -> Tensor:
    """Apply the penalty to the tokens of the history, in place."""
    seen = scores.gather(1, penalty.history)
    strength = penalty.strength[:, None]
    return scores.scatter_(1, penalty.history, torch.where(seen < 0, seen * strength, seen / strength))


def _no_penalty(rows: int) -> Penalty:
    return Penalty(torch.zeros(rows, 1, dtype=torch.long), torch.zeros(rows, dtype=torch.int32), torch.ones(rows))


def draw(scores: Scores, limits: SamplingLimits, uniform: Tensor, window: int = WINDOW) -> tuple[Tensor, Tensor]:
    """Draw one token id per row from `uniform` [rows, fp64]; also return which rows are still undecided: [rows] both.

    The id is NO_TOKEN if the scores are NaN. Only the best `window` scores are sorted. If they do not decide a row,
    draw it again with the same uniform and the whole vocabulary as the window.
    """
    width = min(window, scores.vocabulary)
    values, ids = scores.best(width)
    weights, whole, certain = _filtered(scores, values, limits)
    reached = weights.cumsum(dim=-1)
    target = uniform * whole
    place = (reached <= target[:, None]).sum(dim=-1)
    last = (weights > 0).sum(dim=-1) - 1
    tokens = ids.gather(1, torch.minimum(place, last).clamp(min=0)[:, None])[:, 0]
    tokens = torch.where(last >= 0, tokens, NO_TOKEN)
    decided = certain & ((target < reached[:, -1]) | (width == scores.vocabulary))
    return tokens, ~decided


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
    """Apply temperature, top_k and top_p to the best scores of each row.

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
        mass[rows] = beyond.sum(dim=-1, dtype=torch.float64)
    weights = weights / mass[:, None]
    before = weights.cumsum(dim=-1) - weights
    in_p = (before < top_p[:, None]) | (top_p >= 1.0)[:, None]
    in_p[:, 0] = True
    filtered = weights * in_p
    nothing_dropped = unlimited & (top_p >= 1.0)  # not even beyond the window
    certain = (limited & (values[:, -1:] < kth)[:, 0]) | (unlimited & ~in_p[:, -1]) | nothing_dropped
    whole = torch.where(nothing_dropped & (not everything), 1.0, filtered.sum(dim=-1))
    return filtered, whole, certain | everything
