"""Paged attention for transformers' models: the cache layer writes into pages, the attention function reads them.

Works only inside a decoder's forward, whose Batch says where each token reads and writes. Does not know about requests.
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

from swarmeval.engine.attention import PLAIN
from swarmeval.engine.decoder import Unsupported
from swarmeval.engine.kernels.contract import Kernels
from swarmeval.engine.placed_tokens import Numbers, Tokens

NAME = "paged"


@dataclass(frozen=True, slots=True)
class Batch:
    """The tokens of one forward, on the device: int32 tensors."""

    ids: Tensor  # [tokens]
    positions: Tensor  # [tokens]
    kept: Tensor  # [any]: indexes of the tokens whose logits are wanted
    page: Tensor  # [tokens]: page for the token's own key and value; -1: do not write
    offset: Tensor  # [tokens]: place in that page
    reads: Sequence[Tensor]  # places to attend to, as the kernels' `reads` gave them
    layers: Sequence["PagedLayer"]  # one per model layer, each with its own pools
    longest: int  # no row gets more tokens, so wider attention windows hide nothing


class PagedLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers has no types
    """The key and value pages of one layer."""

    def __init__(self, kernels: Kernels, pages: int, heads: int, size: int) -> None:
        super().__init__()
        self.kernels = kernels
        self.heads = heads
        self.keys: Tensor = kernels.pool(pages, heads, size)
        self.values: Tensor = kernels.pool(pages, heads, size)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write keys and values [1, key heads, tokens, head size] into the pages that the current batch names."""
        batch = current()
        if batch is None:
            raise Unsupported("pages can be used inside their decoder's forward only")
        key, value = key_states[0].transpose(0, 1), value_states[0].transpose(0, 1)
        self.kernels.put(key, value, self.keys, self.values, batch.page, batch.offset)
        return key_states, value_states

    def copy(self, source: int, target: int) -> None:
        """Copy a page."""
        self.keys[target] = self.keys[source]
        self.values[target] = self.values[source]

    def attend(self, query: Tensor, batch: Batch, scale: float) -> Tensor:
        """Attend from `query` [tokens, query heads, head size] to the pages of each token's row."""
        return self.kernels.attend(query, self.keys, self.values, batch.reads, scale)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        raise Unsupported("pages are allocated when the layer is made")

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        raise Unsupported("pages need no mask")

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1


def arrays_of(tokens: Tokens, kept: Numbers, kernels: Kernels) -> list[Numbers]:
    """The numbers of a batch of padded tokens, ordered by group, in the order of Batch's fields."""
    return [tokens.ids, tokens.positions, kept, tokens.page, tokens.offset, *kernels.reads(tokens)]


def batch_of(tensors: Sequence[Tensor], layers: Sequence[PagedLayer], longest: int) -> Batch:
    """The batch whose numbers `arrays_of` gave, on the device."""
    ids, positions, kept, page, offset, *reads = tensors
    return Batch(ids, positions, kept, page, offset, reads, layers, longest)


_current_batch: ContextVar[Batch | None] = ContextVar("now", default=None)


def current() -> Batch | None:
    """The batch going through the model; None outside of a decoder's forward."""
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
    """Make the model use paged attention inside the context."""
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
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls. Raises Unsupported for other arguments."""
    unsupported = sorted(name for name, argument in kwargs.items() if argument is not None and name not in PLAIN)
    batch = current()
    if unsupported or batch is None or dropout or attention_mask is not None:
        raise Unsupported(f"attention with {', '.join(unsupported) or 'a mask or dropout'}")
    if sliding_window is not None and sliding_window < batch.longest:
        raise Unsupported(f"attention with a window of {sliding_window} tokens")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer = batch.layers[module.layer_idx]  # type: ignore[call-overload]
    return layer.attend(query[0].transpose(0, 1), batch, scale)[None], None
