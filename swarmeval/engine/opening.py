"""Requests before their first token: tokenizing and checking them."""

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from swarmeval.engine.branches import Member, Tree, Trees
from swarmeval.engine.sampler import Choice
from swarmeval.engine.text.infilling import end_ids, prompt_ids
from swarmeval.engine.text.stopping import Growth
from swarmeval.engine.text.thoughts import ThoughtGrowth
from swarmeval.engine.text.tokens import Detokenizer, PromptError
from swarmeval.requests import Message, Request, Sampling

_Prompt = tuple[tuple[int, ...], frozenset[int]]  # its token ids, and the tokens that end an answer besides EOS

KEPT_PROMPTS = 64  # tokenized prompts and settings that are kept: the agents of a task ask the same


class Opener:
    """Makes members of requests, each in the tree of its prompt."""

    def __init__(self, tokenizer: Any, context_tokens: int, trees: Trees, shifts: Mapping[str, int]) -> None:
        """`shifts`: of the adapters, by name (see engine.adapters.lora)."""
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self._trees = trees
        self._shifts = shifts
        # Equal requests get the very same objects, which makes comparing them cheap.
        self._prompt: Callable[..., _Prompt] = functools.lru_cache(KEPT_PROMPTS)(self._tokenized)
        self._choice: Callable[[Sampling], Choice] = functools.lru_cache(KEPT_PROMPTS)(_choice)

    def member(self, request: Request, submitted: float) -> Member:
        """Tokenize a request and check it. Raises PromptError if the model cannot answer it."""
        admitted = time.perf_counter()
        try:
            arguments = msgspec.json.encode(request.template_kwargs, order="sorted")
            prompt, ends = self._prompt(request.text, request.suffix, request.messages, request.prefill, arguments)
        except RecursionError as error:
            raise PromptError("chat_template_kwargs is nested too deeply") from error
        sampling = request.sampling
        most = sampling.max_new_tokens
        if not prompt:
            raise PromptError("the prompt is empty and the tokenizer adds no BOS token")
        if len(prompt) + most > self._context_tokens:
            raise PromptError(
                f"the prompt has {len(prompt)} tokens and max_new_tokens is {most}; "
                f"together they exceed the context of {self._context_tokens} tokens"
            )
        if sampling.num_beams > 1 and sampling.do_sample:
            raise PromptError("num_beams above 1 requires do_sample: false")
        strange = [token for token, _ in sampling.logit_bias if token >= len(self._tokenizer)]
        if strange:
            raise PromptError(f"logit_bias names token {strange[0]}; the model has {len(self._tokenizer)} tokens")
        shift = self._shifts.get(request.adapter)
        if shift is None:
            loaded = ", ".join(name for name in self._shifts if name) or "none"
            raise PromptError(f"the adapter {request.adapter!r} is not loaded; loaded adapters: {loaded}")
        detokenizer = Detokenizer(self._tokenizer, prompt)
        shared = self._trees.of(prompt, detokenizer, shift) if request.share else None
        tree = shared or Tree(prompt, detokenizer, shift=shift)
        tree.ends = ends
        stops = tree.stops(sampling.stop)
        thoughts = tree.thoughts(self._tokenizer, request.thinking, request.prefill)
        growth: Growth | ThoughtGrowth | None = None
        if request.stream:
            growth = Growth(tree.detokenizer, stops) if thoughts is None else ThoughtGrowth(thoughts, stops)
        return Member(request, tree, self._choice(sampling), stops, thoughts, growth, submitted, admitted)

    def _tokenized(
        self, text: str | None, suffix: str | None, messages: tuple[Message, ...], prefill: str, template_kwargs: bytes
    ) -> _Prompt:
        prompt = prompt_ids(self._tokenizer, text, suffix, messages, prefill, msgspec.json.decode(template_kwargs))
        return prompt, end_ids(self._tokenizer, prompt)


def _choice(sampling: Sampling) -> Choice:
    usual = Choice(False, temperature=1.0, top_k=1, top_p=1.0, repetition_penalty=sampling.repetition_penalty)
    penalized = replace(
        usual,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        logit_bias=sampling.logit_bias,
    )
    if not sampling.do_sample:  # the other settings change nothing
        return penalized
    return replace(
        penalized,
        do_sample=True,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
    )
