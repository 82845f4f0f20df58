"""Prompts through the model, each distinct one once: its keys and values, and the logits after its last token.

Jobs come task-major, so the agents of a task ask for the same prompt one after another; the latest prompts are kept.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

KEPT_TOKENS = 2048  # of prompts in all; an 8B model's keys and values take about 0.13 MB a token

TOGETHER = 8  # prompts in one forward; the logits it makes grow with the square of them
PADDING = 0.2  # share of padding that one forward may have

Prompt = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prefilled:
    """What the model made of a prompt. Read-only: whoever decodes on works on a copy of the cache."""

    cache: DynamicCache
    logits: Tensor  # [vocabulary], on the model's input device


def alike(prompts: Sequence[Prompt]) -> list[list[Prompt]]:
    """The prompts in batches of about one length each, shortest first."""
    batches: list[list[Prompt]] = []
    for prompt in sorted(prompts, key=len):
        last = batches[-1] if batches else []
        padded = len(prompt) * (len(last) + 1)
        if 0 < len(last) < TOGETHER and sum(map(len, last)) + len(prompt) >= (1 - PADDING) * padded:
            last.append(prompt)
        else:
            batches.append([prompt])
    return batches


class Prefills:
    """The latest prompts, computed when first asked for.

    `together`: new prompts of about one length go through the model at once, padded at their ends. Right for
    models whose layers all attend to everything before them and to nothing else.
    """

    def __init__(self, model: Any, together: bool) -> None:
        self._model = model
        self._together = together
        self._kept: OrderedDict[Prompt, Prefilled] = OrderedDict()

    def __contains__(self, prompt: Prompt) -> bool:
        return prompt in self._kept

    def of(self, prompts: Sequence[Prompt]) -> list[Prefilled]:
        """What the model makes of each of the prompts."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._kept]
        for batch in alike(new) if self._together else [[prompt] for prompt in new]:
            self._kept.update(zip(batch, self._compute(batch), strict=True))
        found = [self._kept[prompt] for prompt in prompts]
        for prompt in prompts:
            self._kept.move_to_end(prompt)
        while len(self._kept) > 1 and sum(map(len, self._kept)) > KEPT_TOKENS:
            self._kept.popitem(last=False)
        return found

    def _compute(self, prompts: Sequence[Prompt]) -> list[Prefilled]:
        """One forward over them all."""
        device = self._model.device
        lengths = [len(prompt) for prompt in prompts]
        width = max(lengths)
        ids = torch.tensor([[*prompt, *[prompt[-1]] * (width - len(prompt))] for prompt in prompts], device=device)
        ends = sorted({length - 1 for length in lengths})
        cache = DynamicCache(config=self._model.config)
        result = self._model(
            input_ids=ids,
            # What is padded comes after everything that is read, and attention looks backwards only.
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=torch.tensor(ends, device=device) if len(prompts) > 1 else 1,
        )
        cache = result.past_key_values
        logits = [result.logits[row, ends.index(length - 1)] for row, length in enumerate(lengths)]
        caches = [cache] if len(prompts) == 1 else [self._one(cache, row, n) for row, n in enumerate(lengths)]
        return [Prefilled(c, z.to(device)) for c, z in zip(caches, logits, strict=True)]

    def _one(self, cache: DynamicCache, row: int, length: int) -> DynamicCache:
        """A copy of one row, so that the others' memory is not kept with it."""
        single = DynamicCache(config=self._model.config)
        for index, layer in enumerate(cache.layers):
            keys, values = layer.keys[row : row + 1, :, :length], layer.values[row : row + 1, :, :length]
            single.update(keys.clone(), values.clone(), index)
        return single
