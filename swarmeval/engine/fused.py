"""Replacement of model parts by compiled, fused equivalents: RMS norms, gated MLPs, rotary attention.

Parts are recognised by structure, not by model name. Each replacement is checked on random input against the original
and dropped if the outputs differ.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from swarmeval.engine.cpu_weights import pack
from swarmeval.engine.decoder import MODEL_FAULTS
from swarmeval.engine.kernels.contract import Kernels
from swarmeval.engine.paged_attention import Batch, PagedLayer, arrays_of, batch_of, current, using_batch
from swarmeval.engine.placed_tokens import Tokens

_TOKENS = 20  # length of the check's input: more than one page
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}  # allowed error, relative to the original's output norm

Module = Callable[..., Any]


def fuse(model: Any, kernels: Kernels) -> dict[str, int]:
    """Replace all supported parts in place. Returns the number of replacements per kind."""
    counts = {"norms": 0, "MLPs": 0, "attentions": 0}
    makers = (("norms", _norm), ("MLPs", _gated_mlp), ("attentions", _attention))
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            for kind, maker in makers:
                made = maker(child, kernels)
                if made is not None:
                    setattr(parent, name, made)
                    counts[kind] += 1
                    break
    return counts


class FusedNorm(nn.Module):
    """Root mean square normalisation."""

    def __init__(self, weight: Tensor, epsilon: float, kernels: Kernels) -> None:
        super().__init__()
        self.weight, self._epsilon, self._kernels = nn.Parameter(weight, requires_grad=False), epsilon, kernels

    def forward(self, values: Tensor) -> Tensor:
        return self._kernels.rms_norm(values, self.weight, self._epsilon)


class FusedMLP(nn.Module):
    """down(silu(gate) * up), with gate and up computed as one product."""

    def __init__(self, gate: nn.Linear, up: nn.Linear, down: nn.Linear, kernels: Kernels) -> None:
        super().__init__()
        self.gate_and_up, self.down_proj, self._kernels = pack(_joined(gate, up)), pack(down), kernels

    def forward(self, values: Tensor) -> Tensor:
        output: Tensor = self.down_proj(self._kernels.gate(self.gate_and_up(values)))
        return output


class FusedAttention(nn.Module):
    """Rotary attention over pages, with query, key and value computed as one product.

    Outside of paged decoding it runs the original module on parts of that product.
    """

    def __init__(self, original: Any, kernels: Kernels) -> None:
        super().__init__()
        projections = (original.q_proj, original.k_proj, original.v_proj)
        self.joined, self.o_proj = pack(_joined(*projections)), pack(original.o_proj)
        self.layer_idx, self.scaling, self.head_dim = original.layer_idx, original.scaling, original.head_dim
        self._kernels = kernels
        self.original = original
        sizes = [projection.out_features for projection in projections]
        starts = [0, sizes[0], sizes[0] + sizes[1]]
        for name, start, size in zip(("q_proj", "k_proj", "v_proj"), starts, sizes, strict=True):
            setattr(original, name, _Part(self.joined, start, size))
        original.o_proj = self.o_proj

    def forward(
        self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor] | None = None, **rest: Any
    ) -> tuple[Tensor, Tensor | None]:
        batch = current()
        if batch is None or position_embeddings is None:
            result: tuple[Tensor, Tensor | None] = self.original(
                hidden_states=hidden_states, position_embeddings=position_embeddings, **rest
            )
            return result
        cosine, sine = position_embeddings
        tokens = hidden_states.shape[1]
        if cosine.shape != (1, tokens, self.head_dim) or cosine.dtype != hidden_states.dtype:
            raise NotImplementedError(f"rotary embeddings of shape {tuple(cosine.shape)}")
        layer = batch.layers[self.layer_idx]
        joined = self.joined(hidden_states).view(tokens, -1, self.head_dim)
        self._kernels.rotate_and_put(joined, cosine, sine, layer.keys, layer.values, batch.page, batch.offset)
        query = joined[:, : joined.shape[1] - 2 * layer.heads]
        output = layer.attend(query, batch, self.scaling).view(1, tokens, -1)
        return self.o_proj(output), None


class _Part(nn.Module):
    """A slice of the outputs of a joined linear layer that belongs to another module."""

    def __init__(self, joined: nn.Module, start: int, size: int) -> None:
        super().__init__()
        self._joined = (joined,)  # in a tuple, so that torch does not register it as a submodule
        self._outputs = slice(start, start + size)

    def forward(self, values: Tensor) -> Tensor:
        product: Tensor = self._joined[0](values)
        return product[..., self._outputs]


def _norm(module: Any, kernels: Kernels) -> nn.Module | None:
    weight = getattr(module, "weight", None)
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if "RMSNorm" not in type(module).__name__ or not isinstance(weight, Tensor) or not isinstance(epsilon, float):
        return None
    if weight.dtype != kernels.dtype or weight.ndim != 1 or getattr(module, "bias", None) is not None:
        return None
    made = FusedNorm(weight.detach(), epsilon, kernels)
    values = _random(3, _TOKENS, len(weight), dtype=weight.dtype)
    return made if _same_output(made, module, values) else None


def _gated_mlp(module: Any, kernels: Kernels) -> nn.Module | None:
    linears = _plain_linears(module, ("gate_proj", "up_proj", "down_proj"), kernels)
    if linears is None or not hasattr(module, "act_fn"):
        return None
    gate, up, down = linears
    made = FusedMLP(gate, up, down, kernels)
    values = _random(1, _TOKENS, down.out_features, dtype=kernels.dtype)
    return made if _same_output(made, module, values) else None


def _attention(module: Any, kernels: Kernels) -> nn.Module | None:
    names = ("q_proj", "k_proj", "v_proj", "o_proj")
    originals = _plain_linears(module, names, kernels)
    if originals is None:
        return None
    others = {name for name, _ in module.named_children()} - set(names)
    known = all(hasattr(module, name) for name in ("head_dim", "scaling", "layer_idx", "config"))
    if others or not known:
        return None
    if any(getattr(place, "sliding_window", None) is not None for place in (module, module.config)):
        return None
    expected = _try_attention(module, module, kernels, paged=False)
    made = FusedAttention(module, kernels)
    outputs = [_try_attention(made, made.original, kernels, paged) for paged in (True, False)]
    if expected is not None and all(output is not None and _close(output, expected) for output in outputs):
        return made
    for name, linear in zip(names, originals, strict=True):
        setattr(module, name, linear)
    return None


@torch.inference_mode()
def _try_attention(module: Any, original: Any, kernels: Kernels, paged: bool) -> Tensor | None:
    """The module's attention over one prompt, paged or not; None if it raises."""
    size = original.head_dim
    hidden = _random(1, _TOKENS, original.config.hidden_size, dtype=kernels.dtype)
    rotations = (_random(1, _TOKENS, size, dtype=kernels.dtype), _random(1, _TOKENS, size, dtype=kernels.dtype, seed=1))
    arguments = {
        "hidden_states": hidden,
        "position_embeddings": rotations,
        "attention_mask": None,
        "past_key_values": None,
    }
    try:
        batch: AbstractContextManager[None] = nullcontext()
        if paged:
            key_size = original.k_proj._outputs.stop - original.k_proj._outputs.start
            batch = using_batch(_one_prompt(kernels, original.layer_idx, key_size // size, size))
        with batch:
            output: Tensor = module(**arguments)[0]
    except MODEL_FAULTS:
        return None
    return output


def _one_prompt(kernels: Kernels, layer: int, key_heads: int, size: int) -> Batch:
    """A batch of one prompt's tokens, over pages of its own."""
    pages = -(-_TOKENS // kernels.page)
    places = np.arange(_TOKENS, dtype=np.int32)
    zeros = np.zeros_like(places)
    tokens = Tokens(
        ids=zeros,
        positions=places,
        row=zeros,
        table=np.tile(np.arange(pages, dtype=np.int32), (_TOKENS, 1)),
        shared=places + 1,
        own=zeros,
        group=zeros,
        page=places // kernels.page,
        offset=places % kernels.page,
    )
    pool = PagedLayer(kernels, pages, key_heads, size)
    tensors = [torch.from_numpy(array).to(pool.keys.device) for array in arrays_of(tokens, zeros[:1], kernels)]
    return batch_of(tensors, [pool] * (layer + 1), _TOKENS)


def _plain_linears(module: Any, names: Sequence[str], kernels: Kernels) -> list[nn.Linear] | None:
    """These parts of a module; None unless all are plain linear layers on the CPU, of the kernels' dtype."""
    parts = [getattr(module, name, None) for name in names]
    plain = [part for part in parts if type(part) is nn.Linear and part.weight.dtype == kernels.dtype]
    return plain if len(plain) == len(names) and all(part.weight.device.type == "cpu" for part in plain) else None


def _joined(*linears: nn.Linear) -> nn.Linear:
    """One linear layer whose output is the concatenation of the given layers' outputs."""
    joined = nn.Linear(
        linears[0].in_features, sum(linear.out_features for linear in linears), bias=False, device="meta"
    )
    joined.weight = nn.Parameter(torch.cat([linear.weight.detach() for linear in linears]), requires_grad=False)
    biases = [linear.bias for linear in linears]
    if any(bias is not None for bias in biases):
        zeros = [linear.weight.new_zeros(linear.out_features) for linear in linears]
        terms = [zero if bias is None else bias.detach() for bias, zero in zip(biases, zeros, strict=True)]
        joined.bias = nn.Parameter(torch.cat(terms), requires_grad=False)
    return joined


@torch.inference_mode()
def _same_output(made: Module, original: Module, values: Tensor) -> bool:
    return _close(made(values), original(values))


def _close(output: Tensor, expected: Tensor) -> bool:
    difference = (output.float() - expected.float()).norm() / expected.float().norm()
    return bool(difference <= _TOLERANCE[expected.dtype])  # False for NaN


def _random(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
