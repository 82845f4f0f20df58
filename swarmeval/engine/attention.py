"""Shared-prefix attention for a decode step: over a prefix that several rows share, and over each row's own tokens.

The prefix part is computed once per group of rows and merged with each row's own part by log-sum-exp (Zheng et al.
2024, BatchLLM). Query heads that share a key head are packed together, so no key is repeated. Registered with
transformers' AttentionInterface as NAME. Does not know about requests.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from swarmeval.engine.decoder import Unsupported

NAME = "shared_prefix"
BASE = "sdpa"  # the only implementation that NAME may replace: both give the same results
# Arguments of models that do not change attention itself.
PLAIN = {
    "is_causal", "position_ids", "use_cache", "output_attentions", "cache_position", "logits_to_keep",
    "output_router_logits",
}  # fmt: skip

KeysAndValues = tuple[Tensor, Tensor]  # [1, key heads, tokens, head size] each


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows whose prompts begin with the same prefix."""

    rows: tuple[int, ...]
    layers: Sequence[KeysAndValues]  # the prefix, one entry per layer


class Prefixes:
    """The row groups of one step. A row outside every group attends to its own keys only."""

    def __init__(self, groups: Sequence[RowGroup], rows: int, device: torch.device) -> None:
        self._groups = groups
        order = [row for group in groups for row in group.rows]
        self.all_in_order = order == list(range(rows))
        self._order = {device: torch.tensor(order, dtype=torch.long, device=device)}

    def __bool__(self) -> bool:
        return bool(self._groups)

    def order(self, device: torch.device) -> Tensor:
        """The shared rows, group by group: [shared rows]. A sharded model has its layers on several devices."""
        if device not in self._order:
            self._order[device] = next(iter(self._order.values())).to(device)
        return self._order[device]

    def attend(self, query: Tensor, layer: int, scale: float) -> KeysAndValues:
        """Attend from the shared rows' queries to each row's prefix.

        `query` is [shared rows, key heads, queries, head size], in `order`. Returns the output in the same shape and
        the log-sum-exp of the scores, [shared rows, key heads, queries].
        """
        outputs = []
        parts = torch.split(query, [len(group.rows) for group in self._groups])
        for part, group in zip(parts, self._groups, strict=True):
            rows, heads, queries, size = part.shape
            keys, values = group.layers[layer]
            flat = part.transpose(0, 1).reshape(1, heads, rows * queries, size)
            output, log_sum = softmax_over(flat, keys, values, None, scale)
            output = output.reshape(heads, rows, queries, -1).transpose(0, 1)
            outputs.append((output, log_sum.reshape(heads, rows, queries).transpose(0, 1)))
        if len(outputs) == 1:
            return outputs[0]
        return torch.cat([output for output, _ in outputs]), torch.cat([log_sum for _, log_sum in outputs])


_prefixes: ContextVar[Prefixes | None] = ContextVar("prefixes", default=None)


@contextmanager
def sharing(model: Any, prefixes: Prefixes) -> Iterator[None]:
    """Make the model's attention read the shared prefixes too. Its forward must decode one token per row."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    previous = model.config._attn_implementation
    token = _prefixes.set(prefixes)
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = previous
        _prefixes.reset(token)


def attend(
    module: Any,  # the attention layer, which knows its index
    query: Tensor,  # [rows, query heads, 1, head size]
    key: Tensor,  # [rows, key heads, length, head size]: the row's own slot
    value: Tensor,
    attention_mask: Tensor | None,  # [rows, 1, 1, length], added to the scores
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls. Raises Unsupported for other arguments."""
    unsupported = sorted(name for name, argument in kwargs.items() if argument is not None and name not in PLAIN)
    prefixes = _prefixes.get()
    if unsupported or prefixes is None or query.shape[2] != 1 or dropout:
        raise Unsupported(f"attention with {', '.join(unsupported) or 'several tokens per row'}")
    rows, query_heads, _, size = query.shape
    heads = key.shape[1]
    scale = size**-0.5 if scaling is None else scaling
    packed = query.reshape(rows, heads, query_heads // heads, size)
    output, log_sum = softmax_over(packed, key, value, attention_mask, scale)
    if prefixes:
        output = merged(packed, output, log_sum, prefixes, module.layer_idx, scale)
    return output.reshape(rows, 1, query_heads, -1), None


def merged(packed: Tensor, own: Tensor, own_sum: Tensor, prefixes: Prefixes, layer: int, scale: float) -> Tensor:
    """Add the prefixes to the rows' own attention: [rows, key heads, queries, head size]."""
    if prefixes.all_in_order:
        output, log_sum = prefixes.attend(packed, layer, scale)
        return _weighted(own, own_sum, output, log_sum)
    order = prefixes.order(packed.device)
    output, log_sum = prefixes.attend(packed[order], layer, scale)
    return own.index_copy(0, order, _weighted(own[order], own_sum[order], output, log_sum))


def _weighted(own: Tensor, own_sum: Tensor, shared: Tensor, shared_sum: Tensor) -> Tensor:
    """Merge the attention outputs over two disjoint sets of keys by their log-sum-exps."""
    share = torch.sigmoid(shared_sum - own_sum)[..., None]
    return torch.lerp(own.float(), shared.float(), share).to(own.dtype)


def softmax_over(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """softmax(query key' scale + mask) value, and the log-sum-exp of the scores: [batch, heads, queries], fp32."""
    if query.device.type == "cpu" and key.shape[-1] == value.shape[-1]:
        output, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, False, attn_mask=mask, scale=scale
        )
        return output, log_sum
    return by_formula(query, key, value, mask, scale)


def by_formula(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """softmax_over as plain matrix products, for any device. Scores stay in fp32 until the weights are known."""
    scores = _products(query, key) * scale
    if mask is not None:
        scores = scores + mask
    log_sum = scores.logsumexp(dim=-1)
    return torch.matmul((scores - log_sum[..., None]).exp().to(value.dtype), value), log_sum


def _products(query: Tensor, key: Tensor) -> Tensor:
    """query key' in fp32. Rounded to bf16, the scores would change the attention's output by 1.4 % instead of 0.2 %."""
    if query.device.type == "cuda" and query.dtype != torch.float32:
        return products_on_cuda(query, key)
    return torch.matmul(query.float(), key.float().transpose(-1, -2))


def products_on_cuda(query: Tensor, key: Tensor) -> Tensor:
    """query key' of 16-bit tensors in fp32, without an fp32 copy of the keys. Torch has this product on CUDA only."""
    products = torch.bmm(query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2), out_dtype=torch.float32)
    return products.view(*query.shape[:3], key.shape[2])
