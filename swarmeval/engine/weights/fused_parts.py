"""Fused equivalents of model parts over the kernels of any device: RMS norm, gated MLP, rotary attention over pages."""

from typing import Any

import torch
from torch import Tensor, nn

from swarmeval.engine.kernels.contract import Kernels
from swarmeval.engine.paged_attention import current
from swarmeval.engine.weights.cpu_weights import pack


class FusedNorm(nn.Module):
    """Root mean square normalisation."""

    def __init__(self, weight: Tensor, epsilon: float, kernels: Kernels) -> None:
        super().__init__()
        self.weight, self._epsilon, self._kernels = nn.Parameter(weight, requires_grad=False), epsilon, kernels

    def forward(self, values: Tensor) -> Tensor:
        # A sharded model may end on another GPU than its last norm.
        return self._kernels.rms_norm(values.to(self.weight.device), self.weight, self._epsilon)


class FusedMLP(nn.Module):
    """down(silu(gate) * up), with gate and up computed as one product."""

    def __init__(self, gate_and_up: nn.Linear, down: nn.Linear, kernels: Kernels) -> None:
        super().__init__()
        self.gate_and_up, self.down_proj, self._kernels = pack(gate_and_up), pack(down), kernels
        self._half = gate_and_up.out_features // 2

    def forward(self, values: Tensor) -> Tensor:
        output: Tensor = self.down_proj(self._kernels.gate(self.gate_and_up(values)))
        return output

    def linear(self, name: str) -> tuple[nn.Module, slice]:
        """The layer that computes a part of the original module, and which of its outputs. Raises AttributeError."""
        half = self._half
        halves = {"gate_proj": slice(0, half), "up_proj": slice(half, 2 * half), "gate_up_proj": slice(0, 2 * half)}
        return (self.gate_and_up, halves[name]) if name in halves else (getattr(self, name), slice(None))


class FusedAttention(nn.Module):
    """Rotary attention over pages, with query, key and value computed as one product.

    Elsewhere, and if the rotary embedding or an attention window does not suit, it runs the original module, which has
    its projections replaced by parts of that product.
    """

    def __init__(self, original: Any, projection: nn.Linear, kernels: Kernels) -> None:
        super().__init__()
        self.projection, self.o_proj, self.original = pack(projection), pack(original.o_proj), original
        self._kernels = kernels
        original.o_proj = self.o_proj
        if hasattr(original, "qkv_proj"):
            original.qkv_proj = self.projection
            return
        product, start = _SharedProduct(self.projection, projection.out_features), 0
        for name in ("q_proj", "k_proj", "v_proj"):
            stop = start + getattr(original, name).out_features
            setattr(original, name, _Part(product, slice(start, stop)))
            start = stop

    def forward(
        self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor] | None = None, **rest: Any
    ) -> tuple[Tensor, Tensor | None]:
        batch, module = current(), self.original
        wanted = (1, hidden_states.shape[1], module.head_dim), hidden_states.dtype
        if (
            batch is None
            or position_embeddings is None
            or any((part.shape, part.dtype) != wanted for part in position_embeddings)
            or not self._sees(batch.longest)
        ):
            result: tuple[Tensor, Tensor | None] = module(
                hidden_states=hidden_states, position_embeddings=position_embeddings, **rest
            )
            return result
        tokens, layer = hidden_states.shape[1], batch.layers[module.layer_idx]
        joined = self.projection(hidden_states).view(tokens, -1, module.head_dim)
        queries = joined.shape[1] - 2 * layer.heads
        if hasattr(module, "q_norm"):
            joined[:, :queries] = module.q_norm(joined[:, :queries])
            joined[:, queries : -layer.heads] = module.k_norm(joined[:, queries : -layer.heads])
        self._kernels.rotate_and_put(joined, *position_embeddings, layer.keys, layer.values, batch.page, batch.offset)
        output = layer.attend(joined[:, :queries], batch, module.scaling).view(1, tokens, -1)
        return self.o_proj(output), None

    def linear(self, name: str) -> tuple[nn.Module, slice]:
        """The layer that computes a part of the original module, and which of its outputs. Raises AttributeError."""
        part = getattr(self.original, name)
        return (self.projection, part.outputs) if isinstance(part, _Part) else (part, slice(None))

    def _sees(self, tokens: int) -> bool:
        """Whether the attention window, if there is one, holds this many tokens."""
        window = getattr(self.original, "sliding_window", getattr(self.original.config, "sliding_window", None))
        return window is None or window >= tokens


class _SharedProduct:
    """A joined linear layer whose output is computed once for all parts of one input."""

    def __init__(self, linear: nn.Module, size: int) -> None:
        self._linear = linear
        self._size = size
        self._latest: tuple[Tensor, Tensor] | None = None  # input and output, until the last part is taken

    def part(self, values: Tensor, outputs: slice) -> Tensor:
        if self._latest is None or self._latest[0] is not values or outputs.start == 0:
            self._latest = values, self._linear(values)
        product = self._latest[1]
        if outputs.stop == self._size:
            self._latest = None
        return product[..., outputs]


class _Part(nn.Module):
    """A slice of the outputs of a joined linear layer, in place of a layer that the original module calls."""

    def __init__(self, product: _SharedProduct, outputs: slice) -> None:
        super().__init__()
        self._product, self.outputs = product, outputs

    def forward(self, values: Tensor) -> Tensor:
        return self._product.part(values, self.outputs)


def joined(*linears: nn.Linear) -> nn.Linear:
    """One linear layer whose output is the concatenation of the given layers' outputs."""
    sizes = [linear.out_features for linear in linears]
    made = nn.Linear(linears[0].in_features, sum(sizes), bias=False, device="meta")
    made.weight = nn.Parameter(torch.cat([linear.weight.detach() for linear in linears]), requires_grad=False)
    biases = [linear.bias for linear in linears]
    if any(bias is not None for bias in biases):
        zeros = [linear.weight.new_zeros(linear.out_features) for linear in linears]
        terms = [zero if bias is None else bias.detach() for bias, zero in zip(biases, zeros, strict=True)]
        made.bias = nn.Parameter(torch.cat(terms), requires_grad=False)
    return made
