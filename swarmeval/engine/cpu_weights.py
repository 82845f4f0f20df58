"""Weights on the CPU as its matrix products like them: NF4 decoded once, then laid out for oneDNN. Knows no engine.

bitsandbytes decodes a weight again for every 4 rows of a batch; at 32 rows a plain linear layer over weights decoded
once is 4-21 times faster, and laying them out for oneDNN saves it from doing so at each product. The price is memory:
two bytes a weight instead of half a byte. Values stay those of NF4.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from torch import Tensor, nn
from torch.nn import functional

_GRAIN = 16  # batch sizes tried are multiples of it
_ROWS = (1, 33)  # how many rows a laid-out layer is tried with
_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}  # share of the norm of what the plain layer gives


def dequantize(model: nn.Module) -> None:
    """Replace every Linear4bit by a plain linear layer of its compute dtype, in place.

    Must run before the first forward, which repacks the weights for bitsandbytes' own kernel.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Linear4bit):
                setattr(parent, name, _plain(child))


def _plain(quantized: Linear4bit) -> nn.Linear:
    dtype = quantized.compute_dtype
    values = dequantize_4bit(quantized.weight.data, quantized.weight.quant_state).to(dtype)
    linear = nn.Linear(quantized.in_features, quantized.out_features, bias=False, device="meta")
    linear.weight = nn.Parameter(values, requires_grad=False)
    if quantized.bias is not None:
        linear.bias = nn.Parameter(quantized.bias.data.to(dtype), requires_grad=False)
    return linear.eval()


class PackedLinear(nn.Module):
    """A linear layer whose weight only oneDNN can read. Takes [..., in_features] of the weight's dtype."""

    def __init__(self, linear: nn.Linear) -> None:
        """Raises RuntimeError where oneDNN does not take the weight."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self.nbytes, self.dtype = linear.weight.nbytes, linear.weight.dtype
        # No parameter: nothing but the product below can be done with it.
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())

    def forward(self, values: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(values, self._packed, self.bias, "none", [], "")
        return product


@torch.inference_mode()
def prepack(model: nn.Module) -> int:
    """Replace linear layers by laid-out ones, in place, where these give the same; how many were replaced."""
    count = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and (packed := _checked(child)) is not None:
                setattr(parent, name, packed)
                count += 1
    return count


def pack(linear: nn.Linear) -> nn.Module:
    """The layer laid out where that gives the same; otherwise the layer itself."""
    return _checked(linear) or linear


def packed_mb(model: nn.Module) -> float:
    """What laid-out weights take, in MB; they are not among the model's parameters."""
    return sum(module.nbytes for module in model.modules() if isinstance(module, PackedLinear)) / 1e6


@torch.inference_mode()
def steady_sizes(model: nn.Module, most: int) -> tuple[list[int], bool]:
    """The batch sizes up to `most` at which every linear layer gives a row the bits that it gets in a batch of `most`,
    and whether it gets these wherever it stands and on however many threads.

    Libraries choose another way to multiply for each shape, so only layers of different shapes are tried.
    """
    layers: dict[tuple[object, ...], Any] = {}
    for module in model.modules():
        shape = (type(module), getattr(module, "in_features", None), getattr(module, "out_features", None))
        if isinstance(module, (PackedLinear, nn.Linear)):
            layers.setdefault(shape, module)
    sizes, steady = list(range(_GRAIN, most + 1, _GRAIN)), True
    generator = torch.Generator().manual_seed(0)
    for layer in layers.values():
        values = torch.randn(1, most, layer.in_features, generator=generator).to(_dtype_of(layer))
        expected = layer(values)
        with threads(1 if torch.get_num_threads() > 1 else 2):
            reversed_order = layer(values.flip(1)).flip(1)
        steady = steady and torch.equal(reversed_order, expected)
        sizes = [size for size in sizes if torch.equal(layer(values[:, :size].contiguous()), expected[:, :size])]
    return sizes, steady


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many of torch within it, and as many as before after it."""
    previous = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(previous)


def _dtype_of(layer: Any) -> torch.dtype:
    dtype: torch.dtype = layer.dtype if isinstance(layer, PackedLinear) else layer.weight.dtype
    return dtype if dtype.is_floating_point else layer.compute_dtype  # 4-bit weights are bytes


def _checked(linear: nn.Linear) -> PackedLinear | None:
    """The laid-out layer; None where it cannot be made or differs by more than rounding."""
    weight = linear.weight
    if weight.device.type != "cpu" or weight.dtype not in _TOLERANCE:
        return None
    generator = torch.Generator().manual_seed(0)
    try:
        packed = PackedLinear(linear)
        for rows in _ROWS:
            values = torch.randn(rows, 1, linear.in_features, generator=generator).to(weight.dtype)
            expected = functional.linear(values, weight, linear.bias).float()
            if not (packed(values).float() - expected).norm() <= _TOLERANCE[weight.dtype] * expected.norm():
                return None
    except RuntimeError:
        return None
    return packed
