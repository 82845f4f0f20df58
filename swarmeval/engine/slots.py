"""Batched decoding over fixed slots of a KV cache.

Row i owns slot i and its own position, so there is no left padding and no concatenation. Only an eviction moves data:
the last row takes the free slot. A common prefix of several prompts is stored once, outside the slots, and read once
per step for all of them (see attention). Works for models with full causal attention in every layer; decoder_choice
checks that.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from swarmeval.engine import attention
from swarmeval.engine.common_prefix import Prompt, worth_sharing
from swarmeval.engine.prefill import Prefilled, Prefills
from swarmeval.engine.steps import Eager, Inputs, Shape, Step

_NO_ROOM = Shape(0, 0)


@dataclass(slots=True)
class _WriteTarget:
    """Write positions of a step: token i goes to place places[i] of slot slots[i]. Each row reads `length` places."""

    slots: Tensor  # [rows]
    places: Tensor  # [rows]
    length: int


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer: [slots, heads, capacity, head size]."""

    def __init__(self, room: Shape, like: Any, aim: _WriteTarget) -> None:
        super().__init__()
        self._aim = aim
        self.keys: Tensor = _larger(like.keys[:0, :, :0], room)
        self.values: Tensor = _larger(like.values[:0, :, :0], room)
        self.is_initialized = True

    def fill(self, slot: int, like: Any, start: int) -> None:
        """Copy a prefilled prompt into the slot, from token `start` on."""
        length = like.keys.shape[2] - start
        self.keys[slot, :, :length] = like.keys[0, :, start:]
        self.values[slot, :, :length] = like.values[0, :, start:]

    def drop_start(self, slot: int, count: int, length: int) -> None:
        """Remove the first `count` of the slot's `length` tokens."""
        self.keys[slot, :, : length - count] = self.keys[slot, :, count:length].clone()
        self.values[slot, :, : length - count] = self.values[slot, :, count:length].clone()

    def move(self, source: int, target: int, length: int) -> None:
        self.keys[target, :, :length] = self.keys[source, :, :length]
        self.values[target, :, :length] = self.values[source, :, :length]

    def grow(self, room: Shape) -> None:
        self.keys = _larger(self.keys, room)
        self.values = _larger(self.values, room)

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write one token per row [rows, heads, 1, head size]; return the keys and values that the rows attend to."""
        rows, device, length = key_states.shape[0], key_states.device, self._aim.length
        slots, places = self._aim.slots.to(device), self._aim.places.to(device)
        self.keys[slots, :, places] = key_states[:, :, 0]
        self.values[slots, :, places] = value_states[:, :, 0]
        return self.keys[:rows, :, :length], self.values[:rows, :, :length]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        raise NotImplementedError("slots are filled from a prefilled prompt")

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._aim.length, 0

    def get_seq_length(self) -> int:
        return self._aim.length - 1

    def get_max_length(self) -> int:
        return -1


@dataclass(slots=True)
class SlotRow:
    prompt: Prompt  # and what of the answer was prefilled with it
    own: int  # tokens in the slot
    prefix: Prompt = ()  # the beginning of the prompt, stored outside the slot

    @property
    def length(self) -> int:
        return len(self.prefix) + self.own


class SlotDecoder:
    """A Decoder of rows that are decoded together. Without `share`, every row keeps its whole prompt in its slot.

    With `step`, shapes are rounded and `step` runs the forwards. `share` must then be off: the row groups change
    between steps, and a recorded step could not see that.
    """

    def __init__(self, model: Any, rows: int, share: bool = True, step: Step | None = None) -> None:
        assert step is None or not share
        self._model = model
        self._most = rows
        self._share = share
        self._rounded = step is not None
        self._step: Step = step or Eager()
        self._inputs = Inputs(rows, model.device)
        self._aim = _WriteTarget(self._inputs.slots(0), self._inputs.slots(0), 0)
        self._room = _NO_ROOM  # allocated slots and their capacity
        self._prefills = Prefills(model, together=True)
        self.rows: list[SlotRow] = []
        self._joined: list[Prompt] = []
        self.shared: dict[Prompt, list[attention.KeysAndValues]] = {}  # per prefix, one entry per layer
        self._prefixes: attention.Prefixes | None = None  # None: rows have joined or left since it was built
        self.layers: list[_SlotLayer] = []
        self._cache: Cache | None = None

    def join(self, prompt: Prompt, new_tokens: int, answer: Sequence[int] = ()) -> int | None:
        prompt = (*prompt, *answer)
        known = prompt in self._prefills or prompt in self._joined
        self._joined.append(prompt)
        return 0 if known else len(prompt)

    def prefill(self) -> Tensor:
        prompts, self._joined = self._joined, []
        distinct = list(dict.fromkeys(prompts))
        results = dict(zip(distinct, self._prefills.of(distinct), strict=True))
        if self._share:
            rows = Counter(row.prompt for row in self.rows) + Counter(prompts)
            for prompt in distinct:
                prefix = worth_sharing(prompt, rows)
                if prefix is not None and prefix not in self.shared:
                    self._begin_sharing(prefix, results[prompt])
        own = max(len(prompt) - len(self._prefix(prompt)) for prompt in prompts)
        spare = int(self._rounded)  # for a fork beside the last row, without recording all steps again
        self._reserve(Shape(len(self.rows) + len(prompts) + spare, own + 1), results[prompts[0]])
        for prompt in prompts:
            self._admit(prompt, results[prompt])
        self._forget_unread()
        return torch.stack([results[prompt].logits for prompt in prompts])

    def fork(self, row: int, length: int, new_tokens: int) -> bool:
        old, new = self.rows[row], len(self.rows)
        own = length - len(old.prefix)
        self._reserve(Shape(new + 1, own + 1))
        for layer in self.layers:
            layer.move(row, new, own)
        self.rows.append(SlotRow(old.prompt[:length], own, old.prefix))
        self._prefixes = None
        return True

    def extend(self, row: int, new_tokens: int) -> bool:
        return True  # slots grow with their longest row

    def decode(self, tokens: Sequence[int]) -> Tensor:
        shape = Shape(len(self.rows), max(row.own for row in self.rows) + 1)
        if self._rounded:
            shape = shape.rounded(self._most)
        self._reserve(shape)
        self._inputs.write(shape.rows, tokens, [row.own for row in self.rows], [row.length for row in self.rows])
        prefixes = self._groups() if self._share else None
        (logits,) = self._step.run(shape, lambda: (self._forward(shape, prefixes),))
        for row in self.rows:
            row.own += 1
        return logits[: len(self.rows)]

    def evict(self, row: int) -> None:
        """Free the slot of a row; the last row takes its place."""
        last = len(self.rows) - 1
        if row != last:
            for layer in self.layers:
                layer.move(last, row, self.rows[last].own)
        self.rows[row] = self.rows[last]
        self.rows.pop()
        self._forget_unread()

    def clear(self) -> None:
        self._prefills = Prefills(self._model, together=True)
        self.rows, self._joined, self.shared, self._prefixes = [], [], {}, None
        self.layers, self._cache, self._room = [], None, _NO_ROOM
        self._step.forget()

    def _forward(self, shape: Shape, prefixes: attention.Prefixes | None) -> Tensor:
        """Run one step over the inputs in the buffers; return the logits [rows, vocabulary].

        Reads no value back to the host, so that the step can be recorded.
        """
        tokens, places, positions = self._inputs.numbers(shape.rows)
        self._aim.slots, self._aim.places, self._aim.length = self._inputs.slots(shape.rows), places, shape.length
        with nullcontext() if prefixes is None else attention.sharing(self._model, prefixes):
            result = self._model(
                input_ids=tokens[:, None],
                attention_mask=self._mask(places, shape.length),
                position_ids=positions[:, None],
                past_key_values=self._cache,
                use_cache=True,
            )
        logits: Tensor = result.logits[:, -1].to(tokens.device)
        return logits

    def _begin_sharing(self, prefix: Prompt, prefilled: Prefilled) -> None:
        """Store a prefix of `prefilled` outside the slots and remove it from the slots that hold it."""
        count = len(prefix)
        self.shared[prefix] = [
            (layer.keys[:, :, :count].contiguous(), layer.values[:, :, :count].contiguous())
            for layer in prefilled.cache.layers
        ]
        for slot, row in enumerate(self.rows):
            more = count - len(row.prefix)
            if more > 0 and row.prompt[:count] == prefix:
                for layer in self.layers:
                    layer.drop_start(slot, more, row.own)
                row.own, row.prefix = row.own - more, prefix

    def _forget_unread(self) -> None:
        """Drop prefixes without rows: they waste memory, and a group must not be empty."""
        read = {row.prefix for row in self.rows}
        self.shared = {prefix: layers for prefix, layers in self.shared.items() if prefix in read}
        self._prefixes = None

    def _prefix(self, prompt: Prompt) -> Prompt:
        """The longest stored prefix of a prompt; empty if there is none."""
        return max((known for known in self.shared if prompt[: len(known)] == known), key=len, default=())

    def _admit(self, prompt: Prompt, prefilled: Prefilled) -> None:
        prefix = self._prefix(prompt)
        for layer, source in zip(self.layers, prefilled.cache.layers, strict=True):
            layer.fill(len(self.rows), source, len(prefix))
        self.rows.append(SlotRow(prompt, len(prompt) - len(prefix), prefix))

    def _groups(self) -> attention.Prefixes:
        if self._prefixes is None:
            members: dict[Prompt, list[int]] = {prefix: [] for prefix in self.shared}
            for index, row in enumerate(self.rows):
                if row.prefix:
                    members[row.prefix].append(index)
            groups = [attention.RowGroup(tuple(rows), self.shared[prefix]) for prefix, rows in members.items()]
            self._prefixes = attention.Prefixes(groups, len(self.rows), self._model.device)
        return self._prefixes

    def _mask(self, places: Tensor, length: int) -> Tensor:
        """The additive attention mask: [rows, 1, 1, length]."""
        dtype = self._model.dtype
        hidden = torch.arange(length, device=places.device) > places[:, None]
        mask = torch.zeros(hidden.shape, dtype=dtype, device=places.device)
        return mask.masked_fill_(hidden, torch.finfo(dtype).min)[:, None, None]

    def _reserve(self, shape: Shape, like: Prefilled | None = None) -> None:
        """Make room for a step of this shape. The first call creates the layers, modelled on `like`."""
        if self._room.holds(shape):
            return
        self._step.forget()
        self._room = self._room.joined(shape.rounded(self._most))
        for layer in self.layers:
            layer.grow(self._room)
        if not self.layers and like is not None:
            self.layers = [_SlotLayer(self._room, layer, self._aim) for layer in like.cache.layers]
            self._cache = Cache(layers=self.layers)


def _larger(states: Tensor, room: Shape) -> Tensor:
    """Copy the states into a larger tensor of zeros. Masked places are still multiplied, and 0 * nan is nan."""
    larger = states.new_zeros(room.rows, states.shape[1], room.length, states.shape[3])
    larger[: states.shape[0], :, : states.shape[2]] = states
    return larger
