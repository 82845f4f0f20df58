"""The small functions around attention, in torch: norm, gate, rotary embedding, writes into pages, merge of outputs.

Each starts several kernels if it is not compiled.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def merged(one: Tensor, one_sum: Tensor, other: Tensor, other_sum: Tensor) -> Tensor:
    """Merge attention outputs [..., size] over two disjoint sets of keys by their log-sum-exps [...]."""
    share = torch.sigmoid(other_sum - one_sum)[..., None]
    return torch.lerp(one.float(), other.float(), share).to(one.dtype)


def rotated(values: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary embedding of `values` [tokens, heads, size] (Su et al. 2021), which pairs the halves as Llama does."""
    left, right = values.chunk(2, dim=-1)
    return values * cosine + torch.cat([-right, left], dim=-1) * sine


def put(key: Tensor, value: Tensor, keys: Tensor, values: Tensor, page: Tensor, offset: Tensor) -> None:
    """Write keys and values [tokens, heads, size] into pools; page -1 is the last one."""
    keys[page, offset] = key
    values[page, offset] = value


def rotate_and_put(
    joined: Tensor, cosine: Tensor, sine: Tensor, keys: Tensor, values: Tensor, page: Tensor, offset: Tensor
) -> None:
    """Rotate queries and keys of `joined` [tokens, heads, size] in place, then `put` keys and values."""
    heads = keys.shape[2]
    turning = joined[:, :-heads]
    turning.copy_(rotated(turning, cosine[:, None], sine[:, None]))
    put(joined[:, -2 * heads : -heads], joined[:, -heads:], keys, values, page, offset)


def rms_norm(values: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Root mean square normalisation in fp32."""
    wide = values.float()
    scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
    return weight * scaled.to(values.dtype)


def gate(joined: Tensor) -> Tensor:
    """silu(gate) * up, for `joined` [..., gate then up]."""
    left, right = joined.chunk(2, dim=-1)
    return functional.silu(left) * right


@dataclass(frozen=True, slots=True)
class SmallFunctions:
    """The small functions around attention: those above, or compiled ones."""

    merged: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = merged
    put: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], None] = put
    rotate_and_put: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], None] = rotate_and_put
    rms_norm: Callable[[Tensor, Tensor, float], Tensor] = rms_norm
    gate: Callable[[Tensor], Tensor] = gate


PLAIN = SmallFunctions()
