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
from transformers.cache_utils import Cache

from swarmeval.engine import attention
from swarmeval.engine.common_prefix import Prompt, worth_sharing
from swarmeval.engine.prefill import Prefilled, Prefills
from swarmeval.engine.slot_layer import SlotLayer, WriteTarget
from swarmeval.engine.steps import Eager, Inputs, Shape, Step

_NO_ROOM = Shape(0, 0)


@dataclass(slots=True)
class SlotRow:
    prompt: Prompt  # and what of the answer was prefilled with it
    asked: int  # tokens of the prompt alone
    new_tokens: int  # at most, after the prompt
    own: int = 0  # tokens in the slot
    prefix: Prompt = ()  # the beginning of the prompt, stored outside the slot

    @property
    def length(self) -> int:
        return len(self.prefix) + self.own

    @property
    def most(self) -> int:
        """The tokens in the slot if the answer is as long as it may be."""
        return self.asked + self.new_tokens - len(self.prefix)


class SlotDecoder:
    """A Decoder of rows that are decoded together. Without `share`, every row keeps its whole prompt in its slot.

    With `step`, shapes are rounded and `step` runs the forwards. `share` must then be off: the row groups change
    between steps, and a recorded step could not see that.

    The slots are a rectangle: a long row makes all of them long. With `tokens`, rows with which the rectangle would
    exceed so many tokens must wait. A fork may exceed them by one row, since it can stand beside the row that it ends.
    """

    def __init__(
        self, model: Any, rows: int, share: bool = True, step: Step | None = None, tokens: int | None = None
    ) -> None:
        assert step is None or not share
        self._model = model
        self._most = rows
        self._tokens = tokens
        self._share = share
        self._rounded = step is not None
        self._step: Step = step or Eager()
        self._inputs = Inputs(rows, model.device)
        self._aim = WriteTarget(self._inputs.slots(0), self._inputs.slots(0), 0)
        self._room = _NO_ROOM  # allocated slots and their capacity
        self._prefills = Prefills(model, together=True)
        self.rows: list[SlotRow] = []
        self._joined: list[SlotRow] = []
        self.shared: dict[Prompt, list[attention.KeysAndValues]] = {}  # per prefix, one entry per layer
        self._prefixes: attention.Prefixes | None = None  # None: rows have joined or left since it was built
        self.layers: list[SlotLayer] = []
        self._cache: Cache | None = None

    def join(self, prompt: Prompt, new_tokens: int, answer: Sequence[int] = ()) -> int | None:
        history = (*prompt, *answer)
        row = SlotRow(history, len(prompt), new_tokens, prefix=self._prefix(history))
        others = len(self.rows) + len(self._joined)
        if others and not self._fits(others + 1, row.most):
            return None
        known = history in self._prefills or any(history == other.prompt for other in self._joined)
        self._joined.append(row)
        return 0 if known else len(history)

    def prefill(self) -> Tensor:
        count = len(self.rows) + len(self._joined)
        # For a fork beside the last row, without recording all steps again.
        spare = int(self._rounded and self._fits(count + 1, 0))
        joined, self._joined = self._joined, []
        prompts = [row.prompt for row in joined]
        distinct = list(dict.fromkeys(prompts))
        results = dict(zip(distinct, self._prefills.of(distinct), strict=True))
        if self._share:
            rows = Counter(row.prompt for row in self.rows) + Counter(prompts)
            for prompt in distinct:
                prefix = worth_sharing(prompt, rows)
                if prefix is not None and prefix not in self.shared:
                    self._begin_sharing(prefix, results[prompt])
        own = max(len(prompt) - len(self._prefix(prompt)) for prompt in prompts)
        self._reserve(Shape(count + spare, own + 1), results[prompts[0]])
        for row in joined:
            self._admit(row, results[row.prompt])
        self._forget_unread()
        return torch.stack([results[prompt].logits for prompt in prompts])

    def fork(self, row: int, length: int, new_tokens: int) -> bool:
        old, new = self.rows[row], len(self.rows)
        own = length - len(old.prefix)
        forked = SlotRow(old.prompt[:length], old.asked, new_tokens, own, old.prefix)
        if not self._fits(new, forked.most):
            return False
        self._reserve(Shape(new + 1, own + 1))
        for layer in self.layers:
            layer.move(row, new, own)
        self.rows.append(forked)
        self._prefixes = None
        return True

    def extend(self, row: int, new_tokens: int) -> bool:
        extended = self.rows[row]
        more = max(0, new_tokens - extended.new_tokens)
        if len(self.rows) > 1 and not self._fits(len(self.rows), extended.most + more):
            return False
        extended.new_tokens += more
        return True

    def decode(self, tokens: Sequence[int]) -> Tensor:
        shape = Shape(len(self.rows), max(row.own for row in self.rows) + 1)
        if self._rounded:
            shape = self._bucket(shape)
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

    def _admit(self, row: SlotRow, prefilled: Prefilled) -> None:
        row.prefix = self._prefix(row.prompt)
        row.own = len(row.prompt) - len(row.prefix)
        for layer, source in zip(self.layers, prefilled.cache.layers, strict=True):
            layer.fill(len(self.rows), source, len(row.prefix))
        self.rows.append(row)

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

    def _fits(self, rows: int, most: int) -> bool:
        """Whether `rows` rows, one of which may have up to `most` tokens in its slot, stay within the plan."""
        if self._tokens is None:
            return True
        longest = Shape(rows, max([most, *(row.most for row in (*self.rows, *self._joined))])).rounded(rows).length
        return rows * longest + sum(map(len, self.shared)) <= self._tokens

    def _bucket(self, shape: Shape) -> Shape:
        """Round a shape, so that few shapes occur. Rows are not rounded beyond the plan."""
        if self._tokens is None:
            return shape.rounded(self._most)
        within = self._tokens // shape.rounded(self._most).length
        return shape.rounded(min(self._most, max(shape.rows, within)))

    def _reserve(self, shape: Shape, like: Prefilled | None = None) -> None:
        """Make room for a step of this shape. The first call creates the layers, modelled on `like`."""
        if self._room.holds(shape):
            return
        self._step.forget()
        needed = self._bucket(shape.joined(Shape(len(self.rows), max((row.own for row in self.rows), default=0))))
        both = self._room.joined(needed)
        self._room = both if self._tokens is None or both.rows * both.length <= self._tokens else needed
        for layer in self.layers:
            layer.resize(self._room)
        if not self.layers and like is not None:
            self.layers = [SlotLayer(self._room, layer, self._aim) for layer in like.cache.layers]
            self._cache = Cache(layers=self.layers)
