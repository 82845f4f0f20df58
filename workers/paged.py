"""Decoding of many rows at once over pages of keys and values, with compiled attention, on the CPU.

Every token that goes through the model, of a prompt or of an answer, is a row of the same flat batch, so prompts are
prefilled without padding, and what rows have in common is computed and kept once (see pages). What a row gets does
not depend on its neighbours: attention is computed row by row, and batches are filled up to sizes at which the
linear layers give equal bits.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AttentionInterface
from transformers.cache_utils import Cache, CacheLayerMixin

from workers.native import Kernels
from workers.pages import PAGE, Lease, PagePool, pages_of
from workers.prefill import Prompt

NAME = "paged"
KEPT_TOKENS = 2048  # of prompts that no row reads
KEPT_LOGITS = 64  # prompts whose next token can be drawn without asking the model again
_PLAIN = {"is_causal", "position_ids", "use_cache", "output_attentions", "cache_position", "logits_to_keep"}

Numbers = NDArray[np.int32]


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


_now: ContextVar[Batch | None] = ContextVar("now", default=None)


def current() -> Batch | None:
    """The batch that is going through the model; None outside of a decoder's forward."""
    return _now.get()


@contextmanager
def going_through(batch: Batch) -> Iterator[None]:
    token = _now.set(batch)
    try:
        yield
    finally:
        _now.reset(token)


@contextmanager
def _attending(model: Any) -> Iterator[None]:
    """Within it, the model's attention is ours."""
    AttentionInterface.register(NAME, attend)  # without a mask function of this name, no mask is made
    held = model.config._attn_implementation
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = held


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
    odd = sorted(name for name, given in kwargs.items() if given is not None and name not in _PLAIN)
    batch = current()
    if odd or batch is None or dropout or attention_mask is not None:
        raise NotImplementedError(f"attention with {', '.join(odd) or 'a mask or dropout'}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer = batch.layers[module.layer_idx]  # type: ignore[call-overload]
    return layer.attend(query[0].transpose(0, 1), batch, scale)[None], None


@dataclass(frozen=True, slots=True)
class _Row:
    prompt: Prompt
    lease: Lease


class PagedDecoder:
    """Rows 0..n-1, decoded together; `sizes` are those that batches are filled up to. See engine.Decoder."""

    def __init__(
        self, model: Any, kernels: Kernels, rows: int, pages: int, sizes: Sequence[int], share: bool = True
    ) -> None:
        config = model.config.get_text_config()
        heads = config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        key_heads = getattr(config, "num_key_value_heads", None) or heads
        if size % PAGE:
            raise NotImplementedError(f"heads of {size} dimensions")
        self._model = model
        self._sizes = sorted(sizes)
        self._share = share
        self._pool = PagePool(pages, keep=pages_of(KEPT_TOKENS))
        self._cache = Cache(
            layers=[PagedLayer(kernels, pages, key_heads, size) for _ in range(config.num_hidden_layers)]
        )
        self._rows: list[_Row] = []
        self._table: Numbers = np.zeros((rows, 1), np.int32)
        self._shared: Numbers = np.zeros(rows, np.int32)
        self._own: Numbers = np.zeros(rows, np.int32)
        self._group: Numbers = np.zeros(rows, np.int32)
        self._logits: OrderedDict[Prompt | int, Tensor] = OrderedDict()
        self._joined = 0  # rows at the end whose prompts are still to be prefilled

    def join(self, prompt: Prompt, new_tokens: int) -> int | None:
        lease = self._pool.lease(prompt, new_tokens, self._share)
        if lease is None:
            return None
        row = len(self._rows)
        pages = [*lease.prompt, *lease.own]
        self._widen(len(pages))
        self._table[row, : len(pages)] = pages
        self._shared[row], self._own[row] = len(prompt), 0
        self._group[row] = lease.prompt[-1]  # rows whose prompts end on the same page share all of it
        self._rows.append(_Row(prompt, lease))
        self._joined += 1
        return len(prompt) - lease.known

    def prefill(self) -> Tensor:
        first, self._joined = len(self._rows) - self._joined, 0
        ends: dict[Prompt | int, int] = {}  # of each prompt its last token's place among those that go through
        tokens: list[int] = []
        rows: list[int] = []
        positions: list[int] = []
        newcomers = self._rows[first:]
        for index, row in enumerate(newcomers, first):
            key = self._key(row, index)
            if key in ends or key in self._logits:
                continue
            start = min(row.lease.known, len(row.prompt) - 1)
            tokens += row.prompt[start:]
            rows += [index] * (len(row.prompt) - start)
            positions += range(start, len(row.prompt))
            ends[key] = len(tokens) - 1
        self._logits.update(zip(ends, self._through(tokens, rows, positions, list(ends.values())), strict=True))
        keys = [self._key(row, index) for index, row in enumerate(newcomers, first)]
        logits = torch.stack([self._logits[key] for key in keys])
        for key in keys:
            self._logits.move_to_end(key)
        while len(self._logits) > (KEPT_LOGITS if self._share else 0):
            self._logits.popitem(last=False)
        return logits

    def decode(self, tokens: Sequence[int]) -> Tensor:
        count = len(self._rows)
        own = self._own[:count]
        own += 1
        shared, place = self._shared[:count], own - 1
        page = self._table[np.arange(count), -(-shared // PAGE) + place // PAGE]
        steps = [
            self._forward(
                tokens[chunk], shared[chunk] + place[chunk], self._table[:count][chunk], shared[chunk], own[chunk],
                self._group[:count][chunk], page[chunk], place[chunk] % PAGE,
            )
            for chunk in _chunks(count, self._sizes[-1])
        ]  # fmt: skip
        return steps[0] if len(steps) == 1 else torch.cat(steps)

    def evict(self, row: int) -> None:
        self._pool.release(self._rows[row].lease)
        last = len(self._rows) - 1
        for numbers in (self._table, self._shared, self._own, self._group):
            numbers[row] = numbers[last]
        self._rows[row] = self._rows[last]
        self._rows.pop()

    def clear(self) -> None:
        for row in self._rows:
            self._pool.release(row.lease)
        self._rows, self._joined = [], 0

    def _through(self, tokens: list[int], rows: list[int], positions: list[int], ends: list[int]) -> list[Tensor]:
        """The prompts' tokens through the model; the logits after those at `ends`."""
        found: list[Tensor] = []
        table, group, place = self._table[rows], self._group[rows], np.asarray(positions, np.int32)
        page = self._table[rows, place // PAGE]
        for chunk in _chunks(len(tokens), self._sizes[-1]):
            wanted = [end - chunk.start for end in ends if chunk.start <= end < chunk.stop]
            logits = self._forward(
                tokens[chunk], place[chunk], table[chunk], place[chunk] + 1, np.zeros_like(place[chunk]),
                group[chunk], page[chunk], place[chunk] % PAGE, wanted,
            )  # fmt: skip
            found += [row.clone() for row in logits]
        return found

    def _forward(
        self,
        tokens: Sequence[int],
        positions: Numbers,
        table: Numbers,
        shared: Numbers,
        own: Numbers,
        group: Numbers,
        page: Numbers,
        offset: Numbers,
        wanted: Sequence[int] | None = None,
    ) -> Tensor:
        """Tokens through the model, at most sizes[-1]; logits after the wanted ones (None: all)."""
        count = len(tokens)
        room = self._filled(count) - count
        padded_group = np.concatenate([group, np.full(room, -1, np.int32)])
        batch = Batch(
            table=torch.from_numpy(np.concatenate([table, np.zeros((room, table.shape[1]), np.int32)])),
            shared=_padded(shared, room),
            own=_padded(own, room),
            order=torch.from_numpy(np.argsort(padded_group, kind="stable").astype(np.int32)),
            group=torch.from_numpy(padded_group),
            page=_padded(page, room, -1),
            offset=_padded(offset, room),
            layers=self._cache.layers,
        )
        keep = 0 if wanted is None else torch.tensor([*wanted, *[0] * (self._filled(len(wanted)) - len(wanted))])
        with _attending(self._model), going_through(batch):
            result = self._model(
                input_ids=torch.tensor([[*tokens, *[0] * room]]),
                position_ids=_padded(positions, room).long()[None],
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=keep,
            )
        logits: Tensor = result.logits[0, : count if wanted is None else len(wanted)]
        return logits

    def _filled(self, count: int) -> int:
        """The size of a batch of so many tokens."""
        return next(size for size in self._sizes if size >= count)

    def _widen(self, width: int) -> None:
        have = self._table.shape[1]
        if width > have:
            self._table = np.pad(self._table, ((0, 0), (0, max(width, 2 * have) - have)))

    def _key(self, row: _Row, index: int) -> Prompt | int:
        """What the logits after a row's prompt are known by."""
        return row.prompt if self._share else index


def _chunks(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _padded(numbers: Numbers, room: int, filler: int = 0) -> Tensor:
    return torch.from_numpy(np.concatenate([numbers, np.full(room, filler, np.int32)]))
