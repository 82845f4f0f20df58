"""LoRA adapters of a loaded model (Hu et al. 2021): rows with different adapters go through it in one batch.

A token of the n-th adapter has its id raised by n times `stride`, the size of the vocabulary. Prompts of different
adapters therefore differ from their first token on, so that nothing is shared between them, and every forward finds
each token's adapter in its ids. Decoders need not know about adapters.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from swarmeval.engine.adapters.files import LoraFiles
from swarmeval.engine.decoder import MODEL_FAULTS, Unsupported
from swarmeval.engine.out_of_memory import is_out_of_memory
from swarmeval.engine.weights.fused_parts import FusedAttention, FusedMLP
from swarmeval.errors import ModelUnavailable

_TRIAL = (3, 5, 7)  # token ids
_ALL = slice(None)
_Place = tuple[tuple[int, ...], torch.device]


class Adapters:
    """The adapters of a model, and during a forward the adapter of each token.

    If steps may be `recorded`, no decision depends on the values of tensors.
    """

    def __init__(self, names: Sequence[str] = (), stride: int = 0, recorded: bool = False) -> None:
        self.shifts: Mapping[str, int] = {"": 0} | {name: place * stride for place, name in enumerate(names, 1)}
        self.nbytes = 0
        self._stride = stride
        self._recorded = recorded
        self._everywhere = 0  # added to the ids of all tokens
        self._of_token: Tensor | None = None  # [tokens]; None outside of a forward, or if no token has an adapter
        self._owners: dict[_Place, Tensor] = {}
        self._foreign: dict[_Place, Tensor] = {}  # of this forward

    @contextmanager
    def everywhere(self, shift: int) -> Iterator[None]:
        """Give every token the adapter with this shift, whatever its id."""
        self._everywhere = shift
        try:
            yield
        finally:
            self._everywhere = 0

    def begin(self, model: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        """Note each token's adapter and lower the ids to those of the vocabulary, before the model's forward."""
        ids = named["input_ids"] + self._everywhere
        adapters = (ids // self._stride).flatten()
        self._foreign.clear()
        self._of_token = adapters if self._recorded or bool(adapters.any()) else None
        return positional, named | {"input_ids": ids % self._stride}

    def end(self, *_: Any) -> None:
        """Forget the tokens' adapters, after the model's forward."""
        self._of_token = None
        self._foreign.clear()

    def foreign(self, owners: tuple[int, ...], values: Tensor) -> Tensor | None:
        """Mark the columns that belong to an adapter other than a token's own: [tokens, columns].

        `values` is the input of a layer, [tokens, any]. None if no token has an adapter.
        """
        place = owners, values.device
        if place not in self._owners:
            self._owners[place] = torch.tensor(owners, device=values.device)
        if self._of_token is None and self._everywhere:  # a layer is called by itself
            return self._owners[place][None] != self._everywhere // self._stride
        if self._of_token is None:
            return None
        if len(values) != len(self._of_token):
            raise Unsupported("adapters of layers that do not get every token once")
        if place not in self._foreign:
            self._foreign[place] = self._of_token.to(values.device)[:, None] != self._owners[place]
        return self._foreign[place]


@dataclass(frozen=True, slots=True)
class _Term:
    """The share of one adapter in some outputs of a linear layer: up(down(x)), with the scale in `up`."""

    layer: str
    outputs: slice
    adapter: int  # its number, from 1
    down: Tensor  # [rank, inputs]
    up: Tensor  # [outputs, rank]


class _Addition:
    """The shares of all adapters in the output of one linear layer, added by a forward hook.

    One product takes all tokens to the ranks of all adapters; of these, each token keeps those of its own adapter.
    """

    def __init__(self, adapters: Adapters, terms: Sequence[_Term]) -> None:
        self.layer = terms[0].layer
        self.was_used = False
        self._adapters = adapters
        parts = [list(part) for _, part in groupby(sorted(terms, key=_part), key=_part)]
        self._down = torch.cat([term.down for part in parts for term in part])
        self._owners = tuple(term.adapter for part in parts for term in part for _ in range(len(term.down)))
        self._ups: list[tuple[slice, slice, Tensor]] = []  # outputs, columns of the inner product, matrix
        ends = list(accumulate((sum(len(term.down) for term in part) for part in parts), initial=0))
        for part, columns in zip(parts, pairwise(ends), strict=True):
            up = torch.cat([term.up for term in part], dim=1).T.contiguous()
            self._ups.append((part[0].outputs, slice(*columns), up))
        adapters.nbytes += self._down.nbytes + sum(up.nbytes for *_, up in self._ups)

    def __call__(self, linear: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        values = arguments[0].flatten(end_dim=-2)
        foreign = self._adapters.foreign(self._owners, values)
        if foreign is None:
            return output
        self.was_used = True
        inner = functional.linear(values, self._down).masked_fill_(foreign, 0)
        sums = output.flatten(end_dim=-2)
        for outputs, columns, up in self._ups:
            sums[:, outputs].addmm_(inner[:, columns], up)
        return sums.view(output.shape)


@torch.inference_mode()
def attach(model: Any, every: Sequence[LoraFiles], recorded: bool = False) -> Adapters:
    """Make a model's linear layers add what the adapters say, whatever form its weights were brought into.

    `recorded`: whether decode steps may be. Raises ModelUnavailable if an adapter does not suit the model.
    """
    adapters = Adapters([files.name for files in every], model.get_input_embeddings().weight.shape[0], recorded)
    terms: dict[nn.Module, list[_Term]] = {}
    for number, files in enumerate(every, 1):
        tensors = load_file(files.weights)
        for layer in files.shapes:
            linear, outputs = _linear(model, layer, files)
            first, second = (tensors[f"base_model.model.{layer}.lora_{side}.weight"].float() for side in "AB")
            device = next((parameter.device for parameter in linear.parameters()), torch.device("cpu"))
            down, up = (part.to(device, model.dtype) for part in (first, second * files.scale(layer)))
            _check(linear, outputs, down, up, layer, files)
            terms.setdefault(linear, []).append(_Term(layer, outputs, number, down, up))
    additions = []
    for linear, own in terms.items():
        additions.append(_Addition(adapters, own))
        linear.register_forward_hook(additions[-1])
    model.register_forward_pre_hook(adapters.begin, with_kwargs=True)
    model.register_forward_hook(adapters.end, always_call=True)
    for files in every:
        _try(model, adapters, files)
    for addition in additions:
        if not addition.was_used:
            raise ModelUnavailable(f"adapters: {addition.layer} does not compute its output by itself in this model")
    return adapters


def _part(term: _Term) -> tuple[int, int]:
    return term.outputs.start or 0, term.outputs.stop or 0


def _linear(model: Any, layer: str, files: LoraFiles) -> tuple[nn.Module, slice]:
    """The linear layer that computes the outputs of a layer, and which of its outputs they are."""
    parent, _, name = layer.rpartition(".")
    try:
        holder = model.get_submodule(parent)
        if isinstance(holder, FusedAttention | FusedMLP):
            linear, outputs = holder.linear(name)
        else:
            linear, outputs = getattr(holder, name), _ALL
    except AttributeError:
        raise ModelUnavailable(
            f"adapters.{files.name}: the model has no layer {layer}; the adapter was made for another model"
        ) from None
    if linear is model.get_output_embeddings():
        raise ModelUnavailable(f"adapters.{files.name}: adapts {layer}, the output head, which is not supported")
    if not (hasattr(linear, "in_features") and hasattr(linear, "out_features")):
        raise ModelUnavailable(
            f"adapters.{files.name}: adapts {layer}, a {type(linear).__name__}; only linear layers are supported"
        )
    return linear, outputs


def _check(linear: Any, outputs: slice, down: Tensor, up: Tensor, layer: str, files: LoraFiles) -> None:
    own = len(range(*outputs.indices(linear.out_features))), linear.in_features
    if own != (theirs := (up.shape[0], down.shape[1])):
        raise ModelUnavailable(
            f"adapters.{files.name}: {layer} has {own[1]} inputs and {own[0]} outputs, the adapter {theirs[1]} and "
            f"{theirs[0]}; it was made for another model"
        )
    if not bool(down.isfinite().all() and up.isfinite().all()):
        raise ModelUnavailable(f"adapters.{files.name}: its matrices for {layer} are not numbers in {down.dtype}")


def _try(model: Any, adapters: Adapters, files: LoraFiles) -> None:
    """Run a few tokens through the model with an adapter. Raises ModelUnavailable if that fails."""
    ids = torch.tensor([_TRIAL], device=model.device) + adapters.shifts[files.name]
    try:
        model(input_ids=ids)
    except MODEL_FAULTS as error:
        if is_out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelUnavailable(f"adapters.{files.name}: {type(model).__name__} fails with it: {reason}") from error
