"""Batched decoding on the CPU over a paged KV cache, with compiled attention.

Prompt tokens and answer tokens go through the model in the same flat batch, so prompts need no padding. Common prefixes
are computed and stored once, and forks share the whole pages of their common answer (see pages). A row's logits do not
depend on its neighbours: attention is computed row by row, and batches are padded to sizes at which the linear layers
give equal bits.
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
from swarmeval.engine.native import Kernels
from swarmeval.engine.paged_attention import Batch, PagedLayer, using_batch, using_pages
from swarmeval.engine.pages import PAGE, Lease, PagePool, pages_of

KEPT_TOKENS = 2048  # prompt tokens kept in the cache although no row uses them
KEPT_LOGITS = 64  # prompts whose next-token logits are kept

Numbers = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _LeasedRow:
    prompt: Prompt
    lease: Lease
    answer: tuple[int, ...] = ()  # the part of it to prefill


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Tokens of one or more forwards, with the places where each reads and writes (see Batch)."""

    ids: Sequence[int]
    positions: Numbers
    table: Numbers
    shared: Numbers
    own: Numbers
    group: Numbers
    page: Numbers
    offset: Numbers

    def part(self, chunk: slice) -> "_Tokens":
        return _Tokens(*(getattr(self, name)[chunk] for name in self.__slots__))

    def padded_to(self, size: int, layers: Sequence[PagedLayer]) -> Batch:
        """The batch padded to `size` with tokens that neither read nor write."""
        group = _padded(self.group, size, filler=-1)
        return Batch(
            table=torch.from_numpy(np.pad(self.table, ((0, size - len(self.ids)), (0, 0)))),
            shared=_padded(self.shared, size),
            own=_padded(self.own, size),
            order=torch.argsort(group, stable=True).int(),
            group=group,
            page=_padded(self.page, size, filler=-1),
            offset=_padded(self.offset, size),
            layers=layers,
        )


class PagedDecoder:
    """A Decoder of rows that are decoded together. Batches are padded to one of `sizes`."""

    def __init__(
        self, model: Any, kernels: Kernels, rows: int, pages: int, sizes: Sequence[int], share: bool = True
    ) -> None:
        config = model.config.get_text_config()
        heads = config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        key_heads = getattr(config, "num_key_value_heads", None) or heads
        if size % PAGE:
            raise NotImplementedError(f"head size {size} is not a multiple of {PAGE}")
        self._model = model
        self._sizes = sorted(sizes)
        self._share = share
        self._pages = pages
        self._pool = PagePool(pages, keep=pages_of(KEPT_TOKENS))
        self.cache = Cache(
            layers=[PagedLayer(kernels, pages, key_heads, size) for _ in range(config.num_hidden_layers)]
        )
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
        whole = own // PAGE
        lease = self._pool.fork(old.lease, whole, new_tokens)
        if lease is None:
            return False
        if own % PAGE:
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
        ends: dict[Prompt | int, int] = {}  # key of a row's logits -> index of its last token in `tokens`
        tokens: list[int] = []
        rows: list[int] = []
        positions: list[int] = []
        newcomers = self._rows[first:]
        for index, row in enumerate(newcomers, first):
            key = self._key(row, index)
            is_known = key in self._logits and row.lease.known == len(row.prompt)  # its pages may have been reused
            if key in ends or is_known:
                continue
            start = row.lease.known if row.answer else min(row.lease.known, len(row.prompt) - 1)
            new = (*row.prompt[start:], *row.answer)
            tokens += new
            rows += [index] * len(new)
            positions += range(start, start + len(new))
            ends[key] = len(tokens) - 1
        self._logits.update(zip(ends, self._run_prefills(tokens, rows, positions, list(ends.values())), strict=True))
        keys = [self._key(row, index) for index, row in enumerate(newcomers, first)]
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
        batch = self._batch(tokens, range(count), self._shared[:count] + self._own[:count])
        self._own[:count] += 1
        steps = [self._forward(batch.part(chunk)) for chunk in _chunks(count, self._sizes[-1])]
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
        self._pool = PagePool(self._pages, keep=pages_of(KEPT_TOKENS))
        self._rows, self._joined = [], 0

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

    def _batch(self, tokens: Sequence[int], rows: Sequence[int], positions: Numbers) -> _Tokens:
        """Tokens at the given positions of the given rows."""
        index = np.asarray(rows, np.int64)
        prompt = self._shared[index]
        place = positions - prompt  # in the answer; negative in the prompt
        is_answer = place >= 0
        column = np.where(is_answer, -(-prompt // PAGE) + place // PAGE, positions // PAGE)
        return _Tokens(
            ids=tokens,
            positions=positions,
            table=self._table[index],
            shared=np.minimum(positions + 1, prompt),
            own=np.maximum(place + 1, 0),
            group=self._group[index],
            page=self._table[index, column],
            offset=np.where(is_answer, place, positions) % PAGE,
        )

    def _run_prefills(self, tokens: list[int], rows: list[int], positions: list[int], ends: list[int]) -> list[Tensor]:
        """Run tokens of prompts and answers through the model; return the logits at the indexes `ends`."""
        logits: list[Tensor] = []
        batch = self._batch(tokens, rows, np.asarray(positions, np.int32))
        for chunk in _chunks(len(tokens), self._sizes[-1]):
            chunk_ends = [end - chunk.start for end in ends if chunk.start <= end < chunk.stop]
            logits += [row.clone() for row in self._forward(batch.part(chunk), chunk_ends)]
        return logits

    def _forward(self, batch: _Tokens, logits_at: Sequence[int] | None = None) -> Tensor:
        """Run at most sizes[-1] tokens through the model; return the logits at the indexes `logits_at` (None: all)."""
        count = len(batch.ids)
        size = self._filled(count)
        keep = (
            0
            if logits_at is None
            else torch.tensor([*logits_at, *[0] * (self._filled(len(logits_at)) - len(logits_at))])
        )
        with using_pages(self._model), using_batch(batch.padded_to(size, self.cache.layers)):
            result = self._model(
                input_ids=torch.tensor([[*batch.ids, *[0] * (size - count)]]),
                position_ids=_padded(batch.positions, size).long()[None],
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=keep,
            )
        logits: Tensor = result.logits[0, : count if logits_at is None else len(logits_at)]
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


def _chunks(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _padded(numbers: Numbers, size: int, filler: int = 0) -> Tensor:
    return torch.from_numpy(np.pad(numbers, (0, size - len(numbers)), constant_values=filler))
