"""Quantized weights unpacked once, on any device, and whether the memory suffices for that.

bitsandbytes unpacks a weight again at each product: on a CPU for every 4 rows of the batch, on a GPU by writing it to
memory and reading it back. At 32 rows on a CPU, a plain linear layer over unpacked weights is 4-21 times faster. On a
GPU it moves half the bytes. torchao unpacks int8 weights at each product, too. The price is memory: two bytes per
weight instead of half a byte or one. The values remain those of the quantized weights.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from swarmeval.engine import quantization
from swarmeval.engine.budget import SHARE, free_bytes
from swarmeval.errors import DeviceError

ROW_LOSS = 2  # auto gives up at most this factor of a GPU's rows; its linear layers gain about as much
Choice = Literal["auto", "on", "off"]

log = logging.getLogger("swarmeval")


@dataclass(frozen=True, slots=True)
class Demand:
    """Memory of one GPU, in bytes: what is free beside packed weights, and what it is needed for."""

    device: str
    free: int
    added: int  # growth of the weights if they are unpacked
    row: float  # keys and values of one row

    def rows(self, unpacked: bool) -> int:
        """Number of rows that fit beside the weights."""
        return max(0, int(SHARE["cuda"] * (self.free - self.added * unpacked) / self.row))


def demands(model: nn.Module, row_bytes: int, free: Callable[[torch.device], int]) -> list[Demand]:
    """The demand on each device that holds quantized weights. A device's share of a row is its share of the weights."""
    added: dict[torch.device, int] = {}
    for layer in _packed(model):
        device, size = layer.weight.device, layer.in_features * layer.out_features
        grown = size * _dtype(layer).itemsize - _packed_bytes(layer)
        added[device] = added.get(device, 0) + grown
    total = sum(added.values())
    return [Demand(str(device), free(device), size, row_bytes * size / total) for device, size in added.items()]


def allows(choice: Choice, demands: Sequence[Demand], rows: int | None, most_rows: int) -> bool:
    """Whether to unpack the weights of a model on GPUs: for `rows` rows, or without it for as many as fit.

    Raises DeviceError if the choice is `on` and not even one row fits.
    """
    if choice == "off" or not demands:
        return False
    packed, unpacked = (min(demand.rows(state) for demand in demands) for state in (False, True))
    if choice == "on" and not unpacked:
        full = min(demands, key=lambda demand: demand.rows(True))
        raise DeviceError(
            f"replica.weight_cache: on leaves no memory for rows on {full.device} (unpacked, the weights need "
            f"{full.added / 1e9:.2f} GB more, and {full.free / 1e9:.2f} GB are free); set replica.weight_cache: auto"
        )
    return choice == "on" or unpacked >= (rows or max(1, min(packed, most_rows) // ROW_LOSS))


def unpack(
    model: nn.Module,
    choice: Choice,
    row_bytes: int,
    rows: int | None,
    most_rows: int,
    free: Callable[[torch.device], int] = free_bytes,
) -> bool:
    """Unpack the model's quantized weights if chosen; returns whether it did. On a CPU, `auto` means `on`.

    Call it before the first forward, which repacks the weights for bitsandbytes' own kernel. Raises DeviceError if the
    choice is `on` and the memory does not suffice.
    """
    devices = {layer.weight.device.type for layer in _packed(model)}
    if not devices or choice == "off":
        return False
    if devices != {"cpu"}:
        found = demands(model, row_bytes, free)
        if not allows(choice, found, rows, most_rows):
            added = sum(demand.added for demand in found)
            log.info("weights stay packed: unpacked, they need %.2f GB more, and rows need it", added / 1e9)
            return False
    dequantize(model)
    torch.cuda.empty_cache()  # the packed weights
    return True


def dequantize(model: nn.Module) -> None:
    """Replace every quantized linear layer by a plain one of its compute dtype, in place, one after the other."""
    found = [
        (parent, name) for parent in model.modules() for name, child in parent.named_children() if _is_packed(child)
    ]
    for parent, name in found:
        setattr(parent, name, _plain(getattr(parent, name)))


def is_plain(module: Any) -> bool:
    """Whether a module is a linear layer over a plain weight, with no quantization of its own beside it."""
    return (
        type(module) is nn.Linear
        and type(getattr(module, "weight", None)) is nn.Parameter
        and not hasattr(module, "quantization_scheme")  # of compressed-tensors, which may quantize activations
    )


def places(model: nn.Module, kind: type[nn.Module]) -> list[tuple[nn.Module, str]]:
    """Parent and name of each submodule of a kind. The list keeps none alive: replacing one frees its memory."""
    return [
        (parent, name) for parent in model.modules() for name, child in parent.named_children() if type(child) is kind
    ]


def _packed(model: nn.Module) -> Iterator[Any]:
    """The quantized layers that can be unpacked."""
    return (module for module in model.modules() if _is_packed(module))


def _is_packed(module: nn.Module) -> bool:
    return quantization.is_int8(module) or quantization.is_nf4(module)


def _dtype(layer: Any) -> torch.dtype:
    """The dtype of a quantized layer's weights once they are unpacked."""
    dtype: torch.dtype = layer.weight.dtype if quantization.is_int8(layer) else layer.compute_dtype
    return dtype


def _packed_bytes(layer: Any) -> int:
    return int(layer.weight.qdata.nbytes if quantization.is_int8(layer) else layer.weight.nbytes)


def _values(layer: Any) -> Tensor:
    """The unpacked weights of a quantized layer."""
    if quantization.is_int8(layer):
        values: Tensor = layer.weight.dequantize()
    else:
        from bitsandbytes.functional import dequantize_4bit

        values = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    return values


def _plain(quantized: Any) -> nn.Linear:
    dtype = _dtype(quantized)
    values = _values(quantized).to(dtype)
    linear = nn.Linear(quantized.in_features, quantized.out_features, bias=False, device="meta")
    linear.weight = nn.Parameter(values, requires_grad=False)
    if quantized.bias is not None:
        linear.bias = nn.Parameter(quantized.bias.data.to(dtype), requires_grad=False)
    quantized.weight = None  # it refers to the layer; such a cycle would live until the next garbage collection
    return linear.eval()
