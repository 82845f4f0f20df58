"""Prefill of prompts, each distinct one once: its KV cache and the logits after its last token.

Jobs arrive task-major, so the agents of a task request the same prompt in succession. The latest prompts are kept, and
a new prompt reuses the prefix that it shares with one of them.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from swarmeval.engine.common_prefix import MIN_TOKENS, Prompt, best_known

KEPT_TOKENS = 2048  # prompt tokens kept in total; an 8B model needs about 0.13 MB per token

MAX_PROMPTS = 8  # prompts per forward; the size of its logits grows with the square
PADDING = 0.2  # largest share of padding in a forward


@dataclass(frozen=True, slots=True)
class Prefilled:
    """A prompt's KV cache and next-token logits. Read-only: copy the cache before decoding further."""

    cache: DynamicCache
    logits: Tensor  # [vocabulary], on the model's input device


def by_length(prompts: Sequence[Prompt]) -> list[list[Prompt]]:
    """Split the prompts into batches of similar length, shortest first."""
    batches: list[list[Prompt]] = []
    for prompt in sorted(prompts, key=len):
        last = batches[-1] if batches else []
        padded = len(prompt) * (len(last) + 1)
        if 0 < len(last) < MAX_PROMPTS and sum(map(len, last)) + len(prompt) >= (1 - PADDING) * padded:
            last.append(prompt)
        else:
            batches.append([prompt])
    return batches


def by_beginning(prompts: Sequence[Prompt]) -> list[list[Prompt]]:
    """Group the prompts by their first MIN_TOKENS tokens."""
    groups: dict[Prompt, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt[:MIN_TOKENS], []).append(prompt)
    return list(groups.values())


class Prefills:
    """A cache of the latest prefilled prompts.

    With `together`, new prompts of similar length share a forward, padded at their ends, and their common prefix is
    computed once. This is correct only for models with full causal attention in every layer.
    """

    def __init__(self, model: Any, together: bool) -> None:
        self._model = model
        self._together = together
        self._latest: OrderedDict[Prompt, Prefilled] = OrderedDict()

    def __contains__(self, prompt: Prompt) -> bool:
        return prompt in self._latest

    def of(self, prompts: Sequence[Prompt]) -> list[Prefilled]:
        """Return each prompt's cache and logits, computing the missing ones."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._latest]
        if self._together:
            for family in by_beginning(new):
                self._compute_family(family)
        else:
            for prompt in new:
                self._compute([prompt])
        prefilled = [self._latest[prompt] for prompt in prompts]
        for prompt in prompts:
            self._latest.move_to_end(prompt)
        while len(self._latest) > 1 and sum(map(len, self._latest)) > KEPT_TOKENS:
            self._latest.popitem(last=False)
        return prefilled

    def _compute_family(self, prompts: list[Prompt]) -> None:
        """Compute prompts that begin alike, reusing a prefix of a kept prompt or of the first prompt."""
        known = best_known(prompts, self._latest)
        if known is None and len(prompts) > 1:
            first, *prompts = prompts
            self._compute([first])
            known = best_known(prompts, [first])
        for batch in by_length(prompts):
            self._compute(batch, known)

    def _compute(self, prompts: Sequence[Prompt], known: tuple[Prompt, int] | None = None) -> None:
        """Compute the prompts in one forward.

        `known` is a kept prompt and the length of a prefix that it shares with all of them.
        """
        device = self._model.device
        lengths = [len(prompt) for prompt in prompts]
        width = max(lengths)
        ids = torch.tensor([[*prompt, *[prompt[-1]] * (width - len(prompt))] for prompt in prompts], device=device)
        cache = DynamicCache(config=self._model.config)
        start = 0
        if known is not None:
            prompt, start = known
            self._fill(cache, self._latest[prompt].cache, slice(0, 1), start, copies=len(prompts))
        ends = sorted({length - 1 - start for length in lengths})
        result = self._model(
            input_ids=ids[:, start:],
            # Padding follows every token that is read, and attention is causal.
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=torch.tensor(ends, device=device) if len(prompts) > 1 else 1,
        )
        cache = result.past_key_values
        for row, prompt in enumerate(prompts):
            logits = result.logits[row, ends.index(len(prompt) - 1 - start)].to(device)
            single = cache
            if len(prompts) > 1:  # a view would keep the memory of the whole batch alive
                single = DynamicCache(config=self._model.config)
                self._fill(single, cache, slice(row, row + 1), len(prompt))
            self._latest[prompt] = Prefilled(single, logits)

    def _fill(self, target: DynamicCache, source: DynamicCache, rows: slice, length: int, copies: int = 1) -> None:
        """Copy the first `length` tokens of some rows of a cache into another one, `copies` times."""
        for index, layer in enumerate(source.layers):
            parts = (states[rows, :, :length].repeat(copies, 1, 1, 1) for states in (layer.keys, layer.values))
            target.update(*parts, index)
