"""Replacement of model parts by fused equivalents, on any device: RMS norms, gated MLPs, rotary attention.

Parts are recognised by structure, not by model name. Each replacement is checked on random input against the original
and dropped if the outputs differ.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from swarmeval.engine.decoder import MODEL_FAULTS
from swarmeval.engine.kernels.contract import Kernels
from swarmeval.engine.paged_attention import Batch, PagedLayer, arrays_of, batch_of, using_batch
from swarmeval.engine.placed_tokens import Tokens
from swarmeval.engine.weights.fused_parts import FusedAttention, FusedMLP, FusedNorm, joined
from swarmeval.engine.weights.weight_cache import is_plain

_TOKENS = 20  # length of the check's input: more than one page
_TOLERANCE = {torch.float32: 1e-4}  # allowed error, relative to the original's output norm
_TOLERANCE_16_BIT = 5e-2

Module = Callable[..., Any]


def fuse(model: Any, kernels: Kernels) -> dict[str, int]:
    """Replace all supported parts in place. Returns the number of replacements per kind.

    4-bit linear layers cannot be joined; of a model that keeps them, only norms are replaced.
    """
    counts = {"norms": 0, "MLPs": 0, "attentions": 0}
    _fuse_children(model, kernels, counts)
    torch.cuda.empty_cache()  # the weights that were joined
    return counts


def _fuse_children(parent: nn.Module, kernels: Kernels, counts: dict[str, int]) -> None:
    """Replace the parts of a module one after the other; each one replaced is freed before the next."""
    for name in [name for name, _ in parent.named_children()]:
        child = getattr(parent, name)
        for kind, maker in (("norms", _norm), ("MLPs", _gated_mlp), ("attentions", _attention)):
            made = maker(child, kernels)
            if made is not None:
                setattr(parent, name, made)
                counts[kind] += 1
                break
        _fuse_children(child, kernels, counts)  # an attention keeps its original, which may have norms


def _norm(module: Any, kernels: Kernels) -> nn.Module | None:
    weight = getattr(module, "weight", None)
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if "RMSNorm" not in type(module).__name__ or not isinstance(weight, Tensor) or not isinstance(epsilon, float):
        return None
    if weight.dtype != kernels.dtype or weight.ndim != 1 or getattr(module, "bias", None) is not None:
        return None
    made = FusedNorm(weight.detach(), epsilon, kernels)
    return made if _same_output(made, module, _random(weight, 3, _TOKENS, len(weight))) else None


def _gated_mlp(module: Any, kernels: Kernels) -> nn.Module | None:
    separate = _plain_linears(module, ("gate_proj", "up_proj", "down_proj"), kernels)
    together = _plain_linears(module, ("gate_up_proj", "down_proj"), kernels)
    if separate is not None:
        gate, up, down = separate
        made = FusedMLP(joined(gate, up), down, kernels)
    elif together is not None:
        made = FusedMLP(together[0], together[1], kernels)
    else:
        return None
    down = module.down_proj
    return made if _same_output(made, module, _random(down.weight, 1, _TOKENS, down.out_features)) else None


def _attention(module: Any, kernels: Kernels) -> nn.Module | None:
    separate, together = ("q_proj", "k_proj", "v_proj", "o_proj"), ("qkv_proj", "o_proj")
    names = separate if hasattr(module, "q_proj") else together
    originals = _plain_linears(module, names, kernels)
    if originals is None:
        return None
    others = {name for name, _ in module.named_children()} - {*names, "q_norm", "k_norm"}
    known = all(hasattr(module, name) for name in ("head_dim", "scaling", "layer_idx", "config"))
    if others or not known:
        return None
    size, weight = module.head_dim, originals[0].weight
    projection = joined(*originals[:-1]) if names is separate else originals[0]
    key_heads = (projection.out_features - originals[-1].in_features) // (2 * size)
    arguments = {
        "hidden_states": _random(weight, 1, _TOKENS, projection.in_features),
        "position_embeddings": tuple(_random(weight, 1, _TOKENS, size, seed=seed) for seed in (1, 2)),
        "attention_mask": None,
        "past_key_values": None,
    }
    try:
        batch = _one_prompt(kernels, module.layer_idx, key_heads, size)
        expected = _outcome(module, arguments)
        made = FusedAttention(module, projection, kernels)
        with using_batch(batch):
            on_pages = _outcome(made, arguments)
        if _close(on_pages, expected) and _close(_outcome(made, arguments), expected):
            return made
    except MODEL_FAULTS:
        pass  # restored below, as one whose outputs differ
    for name, linear in zip(names, originals, strict=True):
        setattr(module, name, linear)
    return None


@torch.inference_mode()
def _outcome(attention: Module, arguments: dict[str, object]) -> Tensor:
    output: Tensor = attention(**arguments)[0]
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
    return batch_of(tensors, [pool] * (layer + 1), longest=0)  # 0: no attention window may avoid the check


def _plain_linears(module: Any, names: Sequence[str], kernels: Kernels) -> list[nn.Linear] | None:
    """These parts of a module; None unless all are plain linear layers on one device, of the kernels' dtype."""
    parts = [getattr(module, name, None) for name in names]
    plain: list[Any] = [part for part in parts if is_plain(part)]
    kinds = {(part.weight.dtype, part.weight.device) for part in plain}
    return plain if len(plain) == len(names) and len(kinds) == 1 and plain[0].weight.dtype == kernels.dtype else None


@torch.inference_mode()
def _same_output(made: Module, original: Module, values: Tensor) -> bool:
    try:
        return _close(made(values), original(values))
    except MODEL_FAULTS:
        return False


def _close(output: Tensor, expected: Tensor) -> bool:
    difference = (output.float() - expected.float()).norm() / expected.float().norm()
    return bool(difference <= _TOLERANCE.get(expected.dtype, _TOLERANCE_16_BIT))  # False for NaN


def _random(like: Tensor, *shape: int, seed: int = 0) -> Tensor:
    """Random numbers of a tensor's dtype, on its device."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(like)
