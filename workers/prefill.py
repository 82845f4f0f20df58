"""Prompts through the model, each distinct one once: its keys and values, and the logits after its last token.

Jobs come task-major, so the agents of a task ask for the same prompt one after another; the latest prompts are kept.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

KEPT_TOKENS = 2048  # of prompts in all; an 8B model's keys and values take about 0.13 MB a token

Prompt = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prefilled:
    """What the model made of a prompt. Read-only: whoever decodes on works on a copy of the cache."""

    cache: DynamicCache
    logits: Tensor  # [vocabulary], fp32, on the model's input device


class Prefills:
    """The latest prompts, computed when first asked for."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._kept: OrderedDict[Prompt, Prefilled] = OrderedDict()

    def __contains__(self, prompt: Prompt) -> bool:
        return prompt in self._kept

    def of(self, prompt: Prompt) -> Prefilled:
        found = self._kept.get(prompt)
        if found is None:
            found = self._kept[prompt] = self._compute(prompt)
        self._kept.move_to_end(prompt)
        while len(self._kept) > 1 and sum(map(len, self._kept)) > KEPT_TOKENS:
            self._kept.popitem(last=False)
        return found

    def _compute(self, prompt: Prompt) -> Prefilled:
        ids = torch.tensor([prompt], device=self._model.device)
        cache = DynamicCache(config=self._model.config)
        result = self._model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return Prefilled(result.past_key_values, result.logits[0, -1].to(ids.device, torch.float32))
