"""Decoders fed with random rows and tokens, and compared with plain decoding by their logits."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from swarmeval.engine.decoder import Decoder
from swarmeval.engine.separate import SeparateDecoder

ROWS = 8
# Some share a prefix; some are longer than a page or a new slot.
PROMPTS = (*(tuple(range(3, 3 + length)) for length in (4, 9, 30, 130)), (*range(3, 23), *range(40, 60)))


def admit(decoder: Decoder, prompts: Sequence[tuple[int, ...]], new_tokens: int = 40) -> Tensor:
    """Add rows for these prompts; return the logits after the prompts."""
    for prompt in prompts:
        assert decoder.join(prompt, new_tokens) is not None
    return decoder.prefill()


def close(actual: Tensor, expected: Tensor) -> bool:
    return bool(torch.allclose(actual, expected, rtol=1e-3, atol=1e-4))


@torch.inference_mode()
def same_all_the_way(model: Any, make: Callable[[int], Decoder], seed: int, steps: int) -> bool:
    """Whether logits agree with those of separate rows at every step, under random arrivals, tokens and departures."""
    chance = random.Random(seed)
    made, separate, rows = make(ROWS), SeparateDecoder(model), 0
    for _ in range(steps):
        news = [PROMPTS[chance.randrange(len(PROMPTS))] for _ in range(chance.randint(0, ROWS - rows))]
        if news:
            rows += len(news)
            if not close(admit(made, news), admit(separate, news)):
                return False
        if rows:
            tokens = [chance.randrange(3, 288) for _ in range(rows)]
            if not close(made.decode(tokens), separate.decode(tokens)):
                return False
        for _ in range(chance.randint(0, rows)):
            row = chance.randrange(rows)
            made.evict(row)
            separate.evict(row)
            rows -= 1
    return True
