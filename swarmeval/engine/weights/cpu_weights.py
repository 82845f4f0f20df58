"""Plain weights prepacked for oneDNN, which saves it from reordering them for each matrix product on a CPU.

Also tells at which batch sizes such products give a row the same bits. Does not know about the engine.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from swarmeval.engine.weights.weight_cache import is_plain, places

GRAIN = 16  # its multiples are tried as batch sizes
_FEW = (2, 4, 8, 24, 40, 56)  # and these: agents that answer alike need few rows; one row costs as much as two
_ROWS = (1, 33)  # row counts for the check of a prepacked layer
_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}  # allowed error, relative to the plain layer's output norm


class PackedLinear(nn.Module):
    """A linear layer with its weight in oneDNN's blocked layout. Takes [..., in_features] of the weight's dtype."""

    def __init__(self, linear: nn.Linear) -> None:
        """Prepack the layer's weight. Raises RuntimeError if oneDNN rejects it."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self.nbytes, self.dtype = linear.weight.nbytes, linear.weight.dtype
        # Not a parameter: only the product below can read this layout.
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())

    def forward(self, values: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(values, self._packed, self.bias, "none", [], "")
        return product


@torch.inference_mode()
def prepack(model: nn.Module) -> int:
    """Replace linear layers by prepacked ones, in place, if the outputs agree. Returns the number replaced."""
    count = 0
    for parent, name in places(model, nn.Linear):
        packed = _checked(getattr(parent, name))
        if packed is not None:
            setattr(parent, name, packed)
            count += 1
    return count


def pack(linear: nn.Linear) -> nn.Module:
    """The prepacked layer if its outputs agree with the plain one's; otherwise the layer itself."""
    return _checked(linear) or linear


def packed_bytes(model: nn.Module) -> int:
    """Bytes of the prepacked weights, which are not among the model's parameters."""
    return sum(module.nbytes for module in model.modules() if isinstance(module, PackedLinear))


@torch.inference_mode()
def steady_sizes(model: nn.Module, most: int) -> tuple[list[int], bool]:
    """Batch sizes up to `most` at which every linear layer gives a row the same bits as in a batch of `most`.

    The second value says whether those bits also stay the same at any place in the batch and on any number of threads.
    A library chooses its kernel by shape, so one layer of each shape is tried.
    """
    layers: dict[tuple[object, ...], Any] = {}
    for module in model.modules():
        shape = (type(module), getattr(module, "in_features", None), getattr(module, "out_features", None))
        if isinstance(module, (PackedLinear, nn.Linear)):
            layers.setdefault(shape, module)
    sizes = sorted({*range(GRAIN, most + 1, GRAIN), *(size for size in _FEW if size < most)})
    # Experts in one tensor get any number of rows, whatever the size of the batch.
    steady = all(weight.ndim < 3 for weight in model.parameters())
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
    """Set the number of torch threads for the duration of the context."""
    previous = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(previous)


def _dtype_of(layer: Any) -> torch.dtype:
    dtype: torch.dtype = layer.dtype if isinstance(layer, PackedLinear) else layer.weight.dtype
    if dtype.is_floating_point:
        return dtype
    packed: torch.dtype = getattr(layer, "compute_dtype", torch.float16)  # bitsandbytes computes with int8 in fp16
    return packed


def _checked(linear: nn.Linear) -> PackedLinear | None:
    """The prepacked layer; None if prepacking fails or the output differs by more than rounding."""
    if not is_plain(linear):
        return None
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
