"""Prompts through the model, each distinct one once: its keys and values, and the logits after its last token.

Jobs come task-major, so the agents of a task ask for the same prompt one after another; the latest prompts are kept,
and what a new one begins with in common with one of them is taken from it.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from swarmeval.engine.common_prefix import MIN_TOKENS, Prompt, best_known

KEPT_TOKENS = 2048  # of prompts in all; an 8B model's keys and values take about 0.13 MB a token

MAX_PROMPTS = 8  # prompts in one forward; the logits it makes grow with the square of them
PADDING = 0.2  # share of padding that one forward may have


@dataclass(frozen=True, slots=True)
class Prefilled:
    """What the model made of a prompt. Read-only: whoever decodes on works on a copy of the cache."""

    cache: DynamicCache
    logits: Tensor  # [vocabulary], on the model's input device


def by_length(prompts: Sequence[Prompt]) -> list[list[Prompt]]:
    """The prompts in batches of about one length each, shortest first."""
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
    """The prompts by what they begin with: those that have MIN_TOKENS tokens in common are together."""
    groups: dict[Prompt, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt[:MIN_TOKENS], []).append(prompt)
    return list(groups.values())


class Prefills:
    """The latest prompts, computed when first asked for.

    `together`: new prompts of about one length go through the model at once, padded at their ends, and what they
    begin with in common goes through it once. Right for models whose layers all attend to everything before them and
    to nothing else.
    """

    def __init__(self, model: Any, together: bool) -> None:
        self._model = model
        self._together = together
        self._latest: OrderedDict[Prompt, Prefilled] = OrderedDict()

    def __contains__(self, prompt: Prompt) -> bool:
        return prompt in self._latest

    def of(self, prompts: Sequence[Prompt]) -> list[Prefilled]:
        """What the model makes of each of the prompts."""
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
        """Prompts that begin alike: with what is known of a kept one, or else of the first of them."""
        known = best_known(prompts, self._latest)
        if known is None and len(prompts) > 1:
            first, *prompts = prompts
            self._compute([first])
            known = best_known(prompts, [first])
        for batch in by_length(prompts):
            self._compute(batch, known)

    def _compute(self, prompts: Sequence[Prompt], known: tuple[Prompt, int] | None = None) -> None:
        """One forward over them all; `known`: a kept prompt whose first so many tokens all of them begin with."""
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
            # What is padded comes after everything that is read, and attention looks backwards only.
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=torch.tensor(ends, device=device) if len(prompts) > 1 else 1,
        )
        cache = result.past_key_values
        for row, prompt in enumerate(prompts):
            logits = result.logits[row, ends.index(len(prompt) - 1 - start)].to(device)
            single = cache
            if len(prompts) > 1:  # a copy, so that the others' memory is not kept with it
                single = DynamicCache(config=self._model.config)
                self._fill(single, cache, slice(row, row + 1), len(prompt))
            self._latest[prompt] = Prefilled(single, logits)

    def _fill(self, target: DynamicCache, source: DynamicCache, rows: slice, length: int, copies: int = 1) -> None:
        """Copy the first tokens of a cache."""
        for index, layer in enumerate(source.layers):
            parts = (states[rows, :, :length].repeat(copies, 1, 1, 1) for states in (layer.keys, layer.values))
            target.update(*parts, index)
