"""Peers of our engine, each as a function that does its part of the work once: `generate` over static batches and
transformers' continuous batching. vLLM, in a separate interpreter, is in vllm_peer.

All get the same prompts as token ids and the same sampling settings. None of them applies stop strings.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from model_loader import LoadedModel
from swarmeval.engine.text import tokens
from swarmeval.engine.text.stopping import eos_ids
from swarmeval.requests import Request

PAGE_TOKENS = 32  # for continuous batching; its default of 256 wastes most of a page on prompts of this length
CHUNK_TOKENS = 512  # maximum tokens per step of continuous batching: its mask has this many rows

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class RoundCost:
    """The tokens that one contestant generated in one round, and the time that took."""

    tokens: int
    seconds: float


Contestant = Callable[[], RoundCost]


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the items, evenly spaced."""
    number = min(count, len(items))
    return [items[i * len(items) // number] for i in range(number)]


def text_tokens(output: Sequence[int], ends: Collection[int]) -> int:
    """Number of tokens before the end-of-text token."""
    return next((place for place, token in enumerate(output) if token in ends), len(output))


def ends_of(loaded: LoadedModel, stops: bool) -> frozenset[int]:
    """The end-of-text ids; empty without `stops`."""
    return eos_ids(loaded.model, loaded.tokenizer) if stops else frozenset()


def prompt_ids(tokenizer: Any, request: Request) -> tuple[int, ...]:
    if request.text is not None:
        return tokens.text_ids(tokenizer, request.text)
    return tokens.chat_ids(tokenizer, [{"role": m.role, "content": m.content} for m in request.messages])


@contextmanager
def endless(model: Any, tokenizer: Any, stops: bool) -> Iterator[None]:
    """Unless `stops` is set, disable the end-of-text token inside the context."""
    previous = model.generation_config.eos_token_id, tokenizer.eos_token
    if not stops:
        model.generation_config.eos_token_id, tokenizer.eos_token = None, None
    yield
    model.generation_config.eos_token_id, tokenizer.eos_token = previous


def static(loaded: LoadedModel, requests: Sequence[Request], size: int, batches: int, stops: bool) -> Contestant:
    """`generate` over `batches` left-padded batches of `size` requests."""
    ends = ends_of(loaded, stops)
    starts = spread(range(0, len(requests), size), batches)

    def run() -> RoundCost:
        count, seconds = 0, 0.0
        with endless(loaded.model, loaded.tokenizer, stops):
            for start in starts:
                began = time.perf_counter()
                replies = generate(loaded, requests[start : start + size])
                seconds += time.perf_counter() - began
                count += sum(text_tokens(reply, ends) for reply in replies)
        return RoundCost(count, seconds)

    return run


def generate(loaded: LoadedModel, requests: Sequence[Request]) -> list[list[int]]:
    """The token ids that `generate` adds to one batch."""
    prompts = [prompt_ids(loaded.tokenizer, request) for request in requests]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    sampling, eos = requests[0].sampling, eos_ids(loaded.model, loaded.tokenizer)
    torch.manual_seed(requests[0].seed % 2**31)
    output = loaded.model.generate(
        ids,
        attention_mask=mask,
        do_sample=sampling.do_sample,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        repetition_penalty=sampling.repetition_penalty,
        max_new_tokens=sampling.max_new_tokens,
        pad_token_id=min(eos, default=0),
    )
    replies: list[list[int]] = output[:, width:].tolist()
    return replies


def continuous(loaded: LoadedModel, requests: Sequence[Request], rows: int, stops: bool) -> Contestant:
    """transformers' continuous batching of these requests with `rows` rows. It ignores the repetition penalty."""
    prompts = [list(prompt_ids(loaded.tokenizer, request)) for request in requests]
    ends, sampling = ends_of(loaded, stops), requests[0].sampling
    generation = GenerationConfig(
        do_sample=sampling.do_sample,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=sorted(ends) or -1,
        pad_token_id=0,
    )
    pages = -(-(max(map(len, prompts)) + sampling.max_new_tokens) // PAGE_TOKENS)
    batching = ContinuousBatchingConfig(
        page_size=PAGE_TOKENS,
        num_blocks=(rows + 1) * (pages + 1),  # the default would take four fifths of the machine's memory
        max_batch_tokens=CHUNK_TOKENS,
        max_requests_per_batch=rows,
        seed=requests[0].seed % 2**31,
    )

    def run() -> RoundCost:
        began = time.perf_counter()
        replies = loaded.model.generate_batch(prompts, generation, batching)
        seconds = time.perf_counter() - began
        wrong = {reply.error for reply in replies.values() if reply.error}
        if wrong or len(replies) != len(prompts):
            raise RuntimeError(
                f"continuous batching answered {len(replies)} of {len(prompts)} prompts: {sorted(wrong)}"
            )
        return RoundCost(sum(text_tokens(reply.generated_tokens, ends) for reply in replies.values()), seconds)

    return run
