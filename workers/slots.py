"""Decoding of many rows at once over fixed slots of keys and values.

Row i owns slot i and its own position: no left padding, no concatenation, and nothing moves but the last row, which
takes the place of one that leaves. Serves models whose layers all attend to everything before them; `fit` decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from workers.prefill import Prefilled, Prefills, Prompt

_CAPACITY = 256  # tokens a slot holds to begin with; doubled as rows grow


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
        self.keys: Tensor = like.keys.new_zeros(slots, like.keys.shape[1], _CAPACITY, like.keys.shape[3])
        self.values: Tensor = like.values.new_zeros(slots, like.values.shape[1], _CAPACITY, like.values.shape[3])
        self.is_initialized = True

    def fill(self, slot: int, like: Any, length: int) -> None:
        self.keys[slot, :, :length] = like.keys[0]
        self.values[slot, :, :length] = like.values[0]

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


class SlotDecoder:
    """Rows 0..n-1, decoded together."""

    def __init__(self, model: Any, rows: int) -> None:
        self._model = model
        self._slots = rows
        self._prefills = Prefills(model)
        self._lengths: list[int] = []  # tokens in each slot
        self._capacity = _CAPACITY
        self._aim = _Aim(torch.zeros(0, dtype=torch.long), 0)
        self._layers: list[_SlotLayer] = []
        self._cache: Cache | None = None

    def has_prefilled(self, prompt: Prompt) -> bool:
        return prompt in self._prefills

    def admit(self, prompts: Sequence[Prompt]) -> Tensor:
        """Add a row for each prompt; give the logits after it: [prompts, vocabulary], fp32."""
        return torch.stack([self._admit(prompt, self._prefills.of(prompt)) for prompt in prompts])

    def decode(self, tokens: Sequence[int]) -> Tensor:
        """Add one token to every row; give the logits after it: [rows, vocabulary], fp32."""
        device = self._model.device
        length = max(self._lengths) + 1
        self._reserve(length)
        positions = torch.tensor(self._lengths, device=device)
        self._aim.positions, self._aim.length = positions, length
        result = self._model(
            input_ids=torch.tensor(tokens, device=device)[:, None],
            attention_mask=self._mask(positions, length),
            position_ids=positions[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        self._lengths = [n + 1 for n in self._lengths]
        logits: Tensor = result.logits[:, -1].to(device, torch.float32)
        return logits

    def evict(self, row: int) -> None:
        """Free the slot of a row; the last row takes its place."""
        last = len(self._lengths) - 1
        if row != last:
            for layer in self._layers:
                layer.move(last, row, self._lengths[last])
        self._lengths[row] = self._lengths[last]
        self._lengths.pop()

    def _admit(self, prompt: Prompt, prefilled: Prefilled) -> Tensor:
        if not self._layers:
            self._layers = [_SlotLayer(self._slots, layer, self._aim) for layer in prefilled.cache.layers]
            self._cache = Cache(layers=self._layers)
        self._reserve(len(prompt))
        for layer, source in zip(self._layers, prefilled.cache.layers, strict=True):
            layer.fill(len(self._lengths), source, len(prompt))
        self._lengths.append(len(prompt))
        return prefilled.logits

    def _mask(self, positions: Tensor, length: int) -> Tensor:
        """What may not be attended to, as a term to add: [rows, 1, 1, length]."""
        dtype = self._model.dtype
        hidden = torch.arange(length, device=positions.device) > positions[:, None]
        mask = torch.zeros(hidden.shape, dtype=dtype, device=positions.device)
        return mask.masked_fill_(hidden, torch.finfo(dtype).min)[:, None, None]

    def _reserve(self, length: int) -> None:
        if length <= self._capacity:
            return
        self._capacity = max(length, 2 * self._capacity)
        for layer in self._layers:
            layer.grow(self._capacity)


def _longer(held: Tensor, capacity: int) -> Tensor:
    longer = held.new_zeros(*held.shape[:2], capacity, held.shape[3])
    longer[:, :, : held.shape[2]] = held
    return longer
