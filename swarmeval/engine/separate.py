"""Decoding of rows one by one, each with its own cache: works for every model that transformers can cache.

The fallback for models that slots cannot serve (sliding windows, state-space layers, biases from padding masks). As
slow as `generate` on one prompt.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from swarmeval.engine.common_prefix import Prompt
from swarmeval.engine.prefill import Prefills


class SeparateDecoder:
    """A Decoder that runs one forward per row."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._prefills = Prefills(model, together=False)
        self._caches: list[DynamicCache] = []
        self._joined: list[Prompt] = []
        self._lengths: list[int] = []

    def join(self, prompt: Prompt, new_tokens: int, answer: Sequence[int] = ()) -> int | None:
        prompt = (*prompt, *answer)
        known = prompt in self._prefills or prompt in self._joined
        self._joined.append(prompt)
        return 0 if known else len(prompt)

    def prefill(self) -> Tensor:
        prompts, self._joined = self._joined, []
        results = self._prefills.of(prompts)
        self._caches += [copy.deepcopy(result.cache) for result in results]
        self._lengths += [len(prompt) for prompt in prompts]
        return torch.stack([result.logits for result in results])

    def fork(self, row: int, length: int, new_tokens: int) -> bool:
        if length != self._lengths[row]:  # caches with a sliding window or a state cannot be cut
            return False
        self._caches.append(copy.deepcopy(self._caches[row]))
        self._lengths.append(length)
        return True

    def extend(self, row: int, new_tokens: int) -> bool:
        return True

    def decode(self, tokens: Sequence[int]) -> Tensor:
        return torch.stack([self._decode(row, token) for row, token in enumerate(tokens)])

    def evict(self, row: int) -> None:
        """Drop a row; the last row takes its place."""
        self._caches[row], self._lengths[row] = self._caches[-1], self._lengths[-1]
        self._caches.pop()
        self._lengths.pop()

    def clear(self) -> None:
        self._prefills = Prefills(self._model, together=False)
        self._joined, self._caches, self._lengths = [], [], []

    def _decode(self, row: int, token: int) -> Tensor:
        self._lengths[row] += 1
        device = self._model.device
        result = self._model(
            input_ids=torch.tensor([[token]], device=device),
            attention_mask=torch.ones(1, self._lengths[row], dtype=torch.long, device=device),
            position_ids=torch.tensor([[self._lengths[row] - 1]], device=device),
            past_key_values=self._caches[row],
            use_cache=True,
        )
        self._caches[row] = result.past_key_values
        logits: Tensor = result.logits[0, -1].to(device)
        return logits
