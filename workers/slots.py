"""Decoding of many rows at once over fixed slots of keys and values.

Row i owns slot i and its own position: no left padding, no concatenation, and nothing moves but the last row, which
takes the place of one that leaves. A prompt that several rows begin with is kept once, outside their slots, and read
once a step for all of them (see attention). Serves models whose layers all attend to everything before them; `fit`
decides.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from workers import attention
from workers.prefill import Prefilled, Prefills, Prompt

BLOCK = 128  # tokens by which slots grow, all at once
_MATES = (
    3  # rows with the same prompt from which on they share it: an attention call for fewer costs more than it saves
)


@dataclass(slots=True)
class _Aim:
    """Where this step writes: token i goes to positions[i] of slot i, and `length` tokens are read."""

    positions: Tensor  # [rows]
    length: int


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer: [slots, heads, capacity, head size]."""

    def __init__(self, slots: int, like: Any, aim: _Aim) -> None:
        super().__init__()
        self._aim = aim
        # Zeros, not garbage: a masked position still meets its value, and 0 * nan is nan.
        self.keys: Tensor = like.keys.new_zeros(slots, like.keys.shape[1], BLOCK, like.keys.shape[3])
        self.values: Tensor = like.values.new_zeros(slots, like.values.shape[1], BLOCK, like.values.shape[3])
        self.is_initialized = True

    def fill(self, slot: int, like: Any, length: int) -> None:
        self.keys[slot, :, :length] = like.keys[0]
        self.values[slot, :, :length] = like.values[0]

    def drop_start(self, slot: int, count: int, length: int) -> None:
        """Forget the first `count` of the slot's `length` tokens."""
        self.keys[slot, :, : length - count] = self.keys[slot, :, count:length].clone()
        self.values[slot, :, : length - count] = self.values[slot, :, count:length].clone()

    def move(self, source: int, target: int, length: int) -> None:
        self.keys[target, :, :length] = self.keys[source, :, :length]
        self.values[target, :, :length] = self.values[source, :, :length]

    def grow(self, capacity: int) -> None:
        self.keys = _longer(self.keys, capacity)
        self.values = _longer(self.values, capacity)

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write one token a row [rows, heads, 1, head size]; give all that the rows may attend to."""
        rows, positions = key_states.shape[0], self._aim.positions.to(key_states.device)
        index = torch.arange(rows, device=key_states.device)
        self.keys[index, :, positions] = key_states[:, :, 0]
        self.values[index, :, positions] = value_states[:, :, 0]
        return self.keys[:rows, :, : self._aim.length], self.values[:rows, :, : self._aim.length]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        raise NotImplementedError("slots are filled from a prefilled prompt")

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._aim.length, 0

    def get_seq_length(self) -> int:
        return self._aim.length - 1

    def get_max_length(self) -> int:
        return -1


@dataclass(slots=True)
class _Row:
    prompt: Prompt
    own: int  # tokens in the slot
    shared: int = 0  # tokens of the prompt that lie outside of it

    @property
    def length(self) -> int:
        return self.shared + self.own


class SlotDecoder:
    """An engine.Decoder of rows decoded together. Without `share`, every row keeps its prompt in its slot."""

    def __init__(self, model: Any, rows: int, share: bool = True) -> None:
        self._model = model
        self._slots = rows
        self._share = share
        self._prefills = Prefills(model, together=True)
        self._rows: list[_Row] = []
        self._joined: list[Prompt] = []
        self._shared: dict[Prompt, Prefilled] = {}
        self._prefixes: attention.Prefixes | None = None  # None: rows have come or gone since it was made
        self._capacity = BLOCK
        self._aim = _Aim(torch.zeros(0, dtype=torch.long), 0)
        self._layers: list[_SlotLayer] = []
        self._cache: Cache | None = None

    def join(self, prompt: Prompt, new_tokens: int) -> int | None:
        known = prompt in self._prefills or prompt in self._shared or prompt in self._joined
        self._joined.append(prompt)
        return 0 if known else len(prompt)

    def prefill(self) -> Tensor:
        prompts, self._joined = self._joined, []
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._shared]
        found = dict(zip(missing, self._prefills.of(missing), strict=True)) | self._shared
        if self._share:
            rows = Counter(row.prompt for row in self._rows) + Counter(prompts)
            for prompt in missing:
                if rows[prompt] >= _MATES:
                    self._begin_sharing(prompt, found[prompt])
        for prompt in prompts:
            self._admit(prompt, found[prompt])
        self._prefixes = None
        return torch.stack([found[prompt].logits for prompt in prompts])

    def decode(self, tokens: Sequence[int]) -> Tensor:
        device = self._model.device
        length = max(row.own for row in self._rows) + 1
        self._reserve(length)
        self._aim.positions = torch.tensor([row.own for row in self._rows], device=device)
        self._aim.length = length
        lengths = torch.tensor([row.length for row in self._rows], device=device)
        with attention.sharing(self._model, self._groups()) if self._share else nullcontext():
            result = self._model(
                input_ids=torch.tensor(tokens, device=device)[:, None],
                attention_mask=self._mask(self._aim.positions, length),
                position_ids=lengths[:, None],
                past_key_values=self._cache,
                use_cache=True,
            )
        for row in self._rows:
            row.own += 1
        logits: Tensor = result.logits[:, -1].to(device)
        return logits

    def evict(self, row: int) -> None:
        """Free the slot of a row; the last row takes its place."""
        prompt, last = self._rows[row].prompt, len(self._rows) - 1
        if row != last:
            for layer in self._layers:
                layer.move(last, row, self._rows[last].own)
        self._rows[row] = self._rows[last]
        self._rows.pop()
        if prompt in self._shared and all(other.prompt != prompt for other in self._rows):
            del self._shared[prompt]
        self._prefixes = None

    def clear(self) -> None:
        self._prefills = Prefills(self._model, together=True)
        self._rows, self._joined, self._shared, self._prefixes = [], [], {}, None
        self._layers, self._cache, self._capacity = [], None, BLOCK

    def _begin_sharing(self, prompt: Prompt, prefilled: Prefilled) -> None:
        """Keep the prompt outside the slots, and take it out of those that hold it."""
        self._shared[prompt] = prefilled
        for slot, row in enumerate(self._rows):
            if row.prompt == prompt:
                for layer in self._layers:
                    layer.drop_start(slot, len(prompt), row.own)
                row.own, row.shared = row.own - len(prompt), len(prompt)

    def _admit(self, prompt: Prompt, prefilled: Prefilled) -> None:
        if not self._layers:
            self._layers = [_SlotLayer(self._slots, layer, self._aim) for layer in prefilled.cache.layers]
            self._cache = Cache(layers=self._layers)
        if prompt in self._shared:
            self._rows.append(_Row(prompt, own=0, shared=len(prompt)))
            return
        self._reserve(len(prompt))
        for layer, source in zip(self._layers, prefilled.cache.layers, strict=True):
            layer.fill(len(self._rows), source, len(prompt))
        self._rows.append(_Row(prompt, own=len(prompt)))

    def _groups(self) -> attention.Prefixes:
        if self._prefixes is None:
            members: dict[Prompt, list[int]] = {prompt: [] for prompt in self._shared}
            for index, row in enumerate(self._rows):
                if row.shared:
                    members[row.prompt].append(index)
            groups = [
                attention.Group(
                    tuple(rows), [(layer.keys, layer.values) for layer in self._shared[prompt].cache.layers]
                )
                for prompt, rows in members.items()
            ]
            self._prefixes = attention.Prefixes(groups, len(self._rows), self._model.device)
        return self._prefixes

    def _mask(self, positions: Tensor, length: int) -> Tensor:
        """What may not be attended to, as a term to add: [rows, 1, 1, length]."""
        dtype = self._model.dtype
        hidden = torch.arange(length, device=positions.device) > positions[:, None]
        mask = torch.zeros(hidden.shape, dtype=dtype, device=positions.device)
        return mask.masked_fill_(hidden, torch.finfo(dtype).min)[:, None, None]

    def _reserve(self, length: int) -> None:
        if length <= self._capacity:
            return
        self._capacity = -(-length // BLOCK) * BLOCK
        for layer in self._layers:
            layer.grow(self._capacity)


def _longer(held: Tensor, capacity: int) -> Tensor:
    longer = held.new_zeros(*held.shape[:2], capacity, held.shape[3])
    longer[:, :, : held.shape[2]] = held
    return longer
