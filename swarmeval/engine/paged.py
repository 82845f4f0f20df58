"""Batched decoding over a paged KV cache, with the kernels of any device.

Prompt tokens and answer tokens go through the model in flat batches, so prompts need no padding. Common prefixes are
computed and stored once, and forks share the whole pages of their common answer (see pages). A row's logits do not
depend on its neighbours where the kernels compute attention row by row and the batch sizes give equal bits.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import Cache

from swarmeval.engine.common_prefix import Prompt
from swarmeval.engine.kernels.contract import Kernels
from swarmeval.engine.paged_attention import Batch, PagedLayer, arrays_of, batch_of, using_batch, using_pages
from swarmeval.engine.pages import Lease, PagePool, pages_of
from swarmeval.engine.placed_tokens import Numbers, Shapes, Tokens, packed, unpacked
from swarmeval.engine.steps import Eager, Step
from swarmeval.engine.upload import upload_array

KEPT_TOKENS = 2048  # prompt tokens kept in the cache although no row uses them
KEPT_LOGITS = 64  # prompts whose next-token logits are kept


@dataclass(frozen=True, slots=True)
class _LeasedRow:
    prompt: Prompt
    lease: Lease
    answer: tuple[int, ...] = ()  # the part of it to prefill


class PagedDecoder:
    """A Decoder of rows that are decoded together, of at most `longest` tokens. Batches are padded to one of `sizes`.

    With `step`, decode steps run through it over memory at fixed addresses, and can be recorded.
    """

    def __init__(
        self,
        model: Any,
        kernels: Kernels,
        rows: int,
        pages: int,
        sizes: Sequence[int],
        longest: int,
        share: bool = True,
        step: Step | None = None,
    ) -> None:
        config = model.config.get_text_config()
        heads = config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        key_heads = getattr(config, "num_key_value_heads", None) or heads
        self._model = model
        self._kernels = kernels
        self._sizes = sorted(sizes)
        self._share = share
        self._longest = longest
        self._pages = pages
        self._pool = PagePool(pages, pages_of(KEPT_TOKENS, kernels.page), kernels.page)
        self.cache = Cache(
            layers=[PagedLayer(kernels, pages, key_heads, size) for _ in range(config.num_hidden_layers)]
        )
        self._step: Step = step or Eager()
        self._fixed = torch.zeros(0, dtype=torch.int32, device=model.device)  # the numbers of a decode step
        self._rows: list[_LeasedRow] = []
        self._table: Numbers = np.zeros((rows, 1), np.int32)
        self._shared: Numbers = np.zeros(rows, np.int32)
        self._own: Numbers = np.zeros(rows, np.int32)
        self._group: Numbers = np.zeros(rows, np.int32)
        self._logits: OrderedDict[Prompt | int, Tensor] = OrderedDict()
        self._joined = 0  # rows at the end that still need prefilling

    def join(self, prompt: Prompt, new_tokens: int, answer: Sequence[int] = ()) -> int | None:
        lease = self._pool.lease(prompt, new_tokens, self._share)
        if lease is None:
            return None
        self._add(_LeasedRow(prompt, lease, tuple(answer)), len(answer))
        self._joined += 1
        return len(prompt) - lease.known + len(answer)

    def fork(self, row: int, length: int, new_tokens: int) -> bool:
        old = self._rows[row]
        own = length - len(old.prompt)
        whole = own // self._pool.page
        lease = self._pool.fork(old.lease, whole, new_tokens)
        if lease is None:
            return False
        if own % self._pool.page:
            for layer in self.cache.layers:
                layer.copy(old.lease.own[whole], lease.own[whole])
        self._add(_LeasedRow(old.prompt, lease), own)
        return True

    def extend(self, row: int, new_tokens: int) -> bool:
        old = self._rows[row]
        lease = self._pool.extend(old.lease, new_tokens)
        if lease is None:
            return False
        self._rows[row] = replace(old, lease=lease)
        self._write_pages(row, lease)
        return True

    def prefill(self) -> Tensor:
        first, self._joined = len(self._rows) - self._joined, 0
        newcomers = self._rows[first:]
        keys = [self._key(row, index) for index, row in enumerate(newcomers, first)]
        prompts: list[_Stretch] = []
        answers: list[_Stretch] = []
        for index, (row, key) in enumerate(zip(newcomers, keys, strict=True), first):
            start = row.lease.known
            is_known = key in self._logits and start == len(row.prompt)  # its pages may have been reused
            if is_known or key in keys[: index - first]:
                continue
            if row.answer:
                prompts.append(_Stretch(index, start, row.prompt[start:], None))
                answers.append(_Stretch(index, len(row.prompt), row.answer, key))
            else:
                start = min(start, len(row.prompt) - 1)
                prompts.append(_Stretch(index, start, row.prompt[start:], key))
        self._run_prefills(prompts)
        self._run_prefills(answers)
        logits = torch.stack([self._logits[key] for key in keys])
        for key in keys:
            if isinstance(key, int):
                del self._logits[key]
            else:
                self._logits.move_to_end(key)
        while len(self._logits) > KEPT_LOGITS:
            self._logits.popitem(last=False)
        return logits

    def decode(self, tokens: Sequence[int]) -> Tensor:
        count = len(self._rows)
        placed = self._placed(tokens, range(count), self._shared[:count] + self._own[:count])
        self._own[:count] += 1
        steps = [self._decode(placed.at(chunk)) for chunk in _chunks(count, self._sizes[-1])]
        return steps[0] if len(steps) == 1 else torch.cat(steps)

    def evict(self, row: int) -> None:
        self._pool.release(self._rows[row].lease)
        last = len(self._rows) - 1
        for numbers in (self._table, self._shared, self._own, self._group):
            numbers[row] = numbers[last]
        self._rows[row] = self._rows[last]
        self._rows.pop()

    def clear(self) -> None:
        # A new pool: the old one may list prompts that never went through the model.
        self._pool = PagePool(self._pages, pages_of(KEPT_TOKENS, self._kernels.page), self._kernels.page)
        self._rows, self._joined = [], 0
        self._step.forget()

    def _add(self, row: _LeasedRow, own: int) -> None:
        index = len(self._rows)
        self._write_pages(index, row.lease)
        self._shared[index], self._own[index] = len(row.prompt), own
        self._group[index] = row.lease.prompt[-1]  # prompts that end on the same page have all pages in common
        self._rows.append(row)

    def _write_pages(self, row: int, lease: Lease) -> None:
        pages = [*lease.prompt, *lease.own]
        self._widen(len(pages))
        self._table[row, : len(pages)] = pages

    def _placed(self, tokens: Sequence[int], rows: Sequence[int], positions: Numbers) -> Tokens:
        """Tokens at the given positions of the given rows."""
        index, page = np.asarray(rows, np.int64), self._pool.page
        prompt = self._shared[index]
        place = positions - prompt  # in the answer; negative in the prompt
        is_answer = place >= 0
        column = np.where(is_answer, -(-prompt // page) + place // page, positions // page)
        return Tokens(
            ids=np.asarray(tokens, np.int32),
            positions=positions,
            row=index.astype(np.int32),
            table=self._table[index],
            shared=np.minimum(positions + 1, prompt),
            own=np.maximum(place + 1, 0),
            group=self._group[index],
            page=self._table[index, column],
            offset=np.where(is_answer, place, positions) % page,
        )

    def _run_prefills(self, stretches: Sequence["_Stretch"]) -> None:
        """Run stretches of prompts, or of answers, through the model; keep the logits after those with a key."""
        stretches = [stretch for stretch in stretches if stretch.tokens]
        if not stretches:
            return
        ids = [token for stretch in stretches for token in stretch.tokens]
        rows = [stretch.row for stretch in stretches for _ in stretch.tokens]
        positions = np.concatenate([np.arange(s.start, s.start + len(s.tokens), dtype=np.int32) for s in stretches])
        ends = np.cumsum([len(stretch.tokens) for stretch in stretches]) - 1
        wanted = [(end, stretch.key) for end, stretch in zip(ends, stretches, strict=True) if stretch.key is not None]
        placed = self._placed(ids, rows, positions)
        for chunk in _chunks(len(ids), self._sizes[-1]):
            here = [(end - chunk.start, key) for end, key in wanted if chunk.start <= end < chunk.stop]
            size = self._filled(len(here)) if here else self._sizes[0]
            numbers, shapes = self._numbers(placed.at(chunk), np.array([end for end, _ in here], np.int64), size)
            tensors = unpacked(upload_array(numbers, self._model.device), shapes)
            logits = self._forward(batch_of(tensors, self.cache.layers, self._longest))
            self._logits.update((key, logits[place].clone()) for place, (_, key) in enumerate(here))

    def _decode(self, tokens: Tokens) -> Tensor:
        """Run one token of each row through the model; return the logits [tokens, vocabulary]."""
        count = len(tokens.ids)
        numbers, shapes = self._numbers(tokens, np.arange(count), self._filled(count))
        if len(numbers) > len(self._fixed):
            self._step.forget()
            self._fixed = self._fixed.new_zeros(2 * len(numbers))
        self._fixed[: len(numbers)].copy_(upload_array(numbers, self._fixed.device))
        batch = batch_of(unpacked(self._fixed, shapes), self.cache.layers, self._longest)
        (logits,) = self._step.run(shapes, lambda: (self._forward(batch),))
        return logits[:count]

    def _numbers(self, tokens: Tokens, kept: NDArray[np.int64], size: int) -> tuple[Numbers, Shapes]:
        """The numbers of a batch that gives the logits of the tokens `kept`, padded to `size` of them."""
        order = tokens.by_group()
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        places: Numbers = np.pad(place[kept], (0, size - len(kept))).astype(np.int32)
        return packed(arrays_of(tokens.at(order).padded(self._filled(len(order))), places, self._kernels))

    def _forward(self, batch: Batch) -> Tensor:
        """Run a batch through the model; return the logits of the tokens `kept`. Reads no value back to the host."""
        with using_pages(self._model), using_batch(batch):
            result = self._model(
                input_ids=batch.ids.long()[None],
                position_ids=batch.positions.long()[None],
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=batch.kept.long(),
            )
        logits: Tensor = result.logits[0]
        return logits

    def _filled(self, count: int) -> int:
        """The smallest batch size that holds `count` tokens."""
        return next(size for size in self._sizes if size >= count)

    def _widen(self, width: int) -> None:
        current = self._table.shape[1]
        if width > current:
            self._table = np.pad(self._table, ((0, 0), (0, max(width, 2 * current) - current)))

    def _key(self, row: _LeasedRow, index: int) -> Prompt | int:
        """The key of a row's next-token logits: its prompt, or its index if other rows cannot have the same."""
        return row.prompt if self._share and not row.answer else index


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Consecutive tokens of a row that go through the model."""

    row: int
    start: int  # position of the first
    tokens: Sequence[int]
    key: Prompt | int | None  # of the logits after the last; None: they are not wanted


def _chunks(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
