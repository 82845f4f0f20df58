"""Requests before their first token: tokenizing and checking them."""

import functools
import time
from collections.abc import Callable
from typing import Any

import msgspec

from swarmeval.engine.branches import Member, Tree, Trees
from swarmeval.engine.infilling import end_ids, prompt_ids
from swarmeval.engine.sampler import Choice
from swarmeval.engine.stopping import Growth
from swarmeval.engine.text.thoughts import ThoughtGrowth
from swarmeval.engine.tokens import Detokenizer, PromptError
from swarmeval.requests import Message, Request, Sampling

_Prompt = tuple[tuple[int, ...], frozenset[int]]  # its token ids, and the tokens that end an answer besides EOS

KEPT_PROMPTS = 64  # tokenized prompts and settings that are kept: the agents of a task ask the same


class Opener:
    """Makes members of requests, each in the tree of its prompt."""

    def __init__(self, tokenizer: Any, context_tokens: int, trees: Trees) -> None:
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self._trees = trees
        # Equal requests get the very same objects, which makes comparing them cheap.
        self._prompt: Callable[..., _Prompt] = functools.lru_cache(KEPT_PROMPTS)(self._tokenized)
        self._choice: Callable[[Sampling], Choice] = functools.lru_cache(KEPT_PROMPTS)(_choice)

    def member(self, request: Request, submitted: float) -> Member:
        """Tokenize a request and check it. Raises PromptError if the model cannot answer it."""
        admitted = time.perf_counter()
        arguments = msgspec.json.encode(request.template_kwargs, order="sorted")
        prompt, ends = self._prompt(request.text, request.suffix, request.messages, request.prefill, arguments)
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
        detokenizer = Detokenizer(self._tokenizer, prompt)
        tree = self._trees.of(prompt, detokenizer) if request.share else Tree(prompt, detokenizer)
        tree.ends = ends
        stops = tree.stops(sampling.stop)
        thoughts = tree.thoughts(self._tokenizer, request.thinking)
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
    penalty = sampling.repetition_penalty
    if not sampling.do_sample:  # the other settings change nothing
        return Choice(False, temperature=1.0, top_k=1, top_p=1.0, repetition_penalty=penalty)
    return Choice(True, sampling.temperature, sampling.top_k, sampling.top_p, penalty)
