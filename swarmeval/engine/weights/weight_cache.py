"""NF4 weights unpacked once, on any device, and whether the memory suffices for that.

bitsandbytes unpacks a weight again at each product: on a CPU for every 4 rows of the batch, on a GPU by writing it to
memory and reading it back. At 32 rows on a CPU, a plain linear layer over unpacked weights is 4-21 times faster. On a
GPU it moves half the bytes. The price is memory: two bytes per weight instead of half a byte. The values remain those
of NF4.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

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
    """The demand on each device that holds 4-bit weights. A device holds the same share of a row as of the weights."""
    added: dict[torch.device, int] = {}
    for layer in _packed(model):
        device, size = layer.weight.device, layer.in_features * layer.out_features
        added[device] = added.get(device, 0) + size * layer.compute_dtype.itemsize - layer.weight.nbytes
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
    """Unpack the model's NF4 weights if chosen; returns whether it did. On a CPU, `auto` means `on`.

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
            log.info("weights stay in 4 bits: unpacked, they need %.2f GB more, and rows need it", added / 1e9)
            return False
    dequantize(model)
    torch.cuda.empty_cache()  # the packed weights
    return True


def dequantize(model: nn.Module) -> None:
    """Replace every Linear4bit by a plain linear layer of its compute dtype, in place, one after the other."""
    from bitsandbytes.nn import Linear4bit

    for parent, name in places(model, Linear4bit):
        setattr(parent, name, _plain(getattr(parent, name)))


def places(model: nn.Module, kind: type[nn.Module]) -> list[tuple[nn.Module, str]]:
    """Parent and name of each submodule of a kind. The list keeps none alive: replacing one frees its memory."""
    return [
        (parent, name) for parent in model.modules() for name, child in parent.named_children() if type(child) is kind
    ]


def _packed(model: nn.Module) -> Iterator[Any]:
    """The 4-bit layers."""
    from bitsandbytes.nn import Linear4bit  # here, since models in 16 bits need no bitsandbytes

    return (module for module in model.modules() if type(module) is Linear4bit)


def _plain(quantized: Any) -> nn.Linear:
    from bitsandbytes.functional import dequantize_4bit

    dtype = quantized.compute_dtype
    values = dequantize_4bit(quantized.weight.data, quantized.weight.quant_state).to(dtype)
    linear = nn.Linear(quantized.in_features, quantized.out_features, bias=False, device="meta")
    linear.weight = nn.Parameter(values, requires_grad=False)
    if quantized.bias is not None:
        linear.bias = nn.Parameter(quantized.bias.data.to(dtype), requires_grad=False)
    quantized.weight = None  # it refers to the layer; such a cycle would live until the next garbage collection
    return linear.eval()
