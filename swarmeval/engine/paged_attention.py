"""Attention over pages, as transformers' models call it: their cache writes into pages, their attention reads them.

Works within a decoder's forward only, which says where each token reads and writes. Knows no rows and no requests.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.cache_utils import CacheLayerMixin

from swarmeval.engine.native import Kernels
from swarmeval.engine.pages import PAGE

NAME = "paged"
_PLAIN = {"is_causal", "position_ids", "use_cache", "output_attentions", "cache_position", "logits_to_keep"}


@dataclass(frozen=True, slots=True)
class Batch:
    """Where the tokens of one forward read and write: int32 tensors with an entry a token."""

    table: Tensor  # [tokens, pages of a row]
    shared: Tensor  # tokens it attends to in the first of these pages
    own: Tensor  # and in those after them
    order: Tensor  # the tokens, those of one group together
    group: Tensor  # tokens of one group read the same first pages, as far as they read them
    page: Tensor  # where its own keys and values go; -1: nowhere
    offset: Tensor
    layers: Sequence["PagedLayer"]  # the model's, each with a pool of its own


class PagedLayer(CacheLayerMixin):  # type: ignore[misc]
    """The pool of one layer."""

    def __init__(self, kernels: Kernels, pages: int, heads: int, size: int) -> None:
        super().__init__()
        self.kernels = kernels
        # Never filled: what is not written is not read, and untouched memory costs nothing.
        self.keys: Tensor = torch.empty(pages, heads, PAGE * size, dtype=kernels.dtype)
        self.values: Tensor = torch.empty(pages, heads, PAGE * size, dtype=kernels.dtype)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write [1, key heads, tokens, head size]; attention finds them by the batch's table."""
        batch = current()
        if batch is None:
            raise NotImplementedError("pages are read by their decoder only")
        key, value = key_states[0].transpose(0, 1), value_states[0].transpose(0, 1)
        self.kernels.put(key, value, self.keys, self.values, batch.page, batch.offset)
        return key_states, value_states

    def attend(self, query: Tensor, batch: Batch, scale: float) -> Tensor:
        """Attention of [tokens, query heads, head size] to their rows' pages."""
        return self.kernels.attend(
            query, self.keys, self.values, batch.table, batch.shared, batch.own, batch.order, batch.group, scale
        )

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        raise NotImplementedError("pages are made before they are needed")

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        raise NotImplementedError("pages need no mask")

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1


_current_batch: ContextVar[Batch | None] = ContextVar("now", default=None)


def current() -> Batch | None:
    """The batch that is going through the model; None outside of a decoder's forward."""
    return _current_batch.get()


@contextmanager
def using_batch(batch: Batch) -> Iterator[None]:
    token = _current_batch.set(batch)
    try:
        yield
    finally:
        _current_batch.reset(token)


@contextmanager
def using_pages(model: Any) -> Iterator[None]:
    """Within it, the model's attention is ours."""
    AttentionInterface.register(NAME, attend)  # without a mask function of this name, no mask is made
    previous = model.config._attn_implementation
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = previous


def attend(
    module: torch.nn.Module,
    query: Tensor,  # [1, query heads, tokens, head size]
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What transformers calls. Raises NotImplementedError for attention of a kind it does not know."""
    unsupported = sorted(name for name, argument in kwargs.items() if argument is not None and name not in _PLAIN)
    batch = current()
    if unsupported or batch is None or dropout or attention_mask is not None:
        raise NotImplementedError(f"attention with {', '.join(unsupported) or 'a mask or dropout'}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer = batch.layers[module.layer_idx]  # type: ignore[call-overload]
    return layer.attend(query[0].transpose(0, 1), batch, scale)[None], None
