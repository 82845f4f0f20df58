"""Slots that share prompts give what plain decoding gives, whatever joins, leaves and shares; every family that can."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests import tiny_model
from workers import attention, fit
from workers.separate import SeparateDecoder
from workers.slots import SlotDecoder

MODEL = tiny_model.model()
PROMPTS = tuple(tuple(range(3, 3 + length)) for length in (4, 9, 30, 130))  # the last is longer than a new slot


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A model this small is done before a second thread has started."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def close(found: Tensor, wanted: Tensor) -> bool:
    return bool(torch.allclose(found, wanted, rtol=1e-3, atol=1e-4))


@torch.inference_mode()
def same_all_the_way(model: Any, seed: int, steps: int, share: bool = True) -> bool:
    """Random arrivals, tokens and departures, in slots and one by one: do the logits agree at every step?"""
    chance = random.Random(seed)
    slots, separate, rows = SlotDecoder(model, 8, share), SeparateDecoder(model), 0
    for _ in range(steps):
        news = [PROMPTS[chance.randrange(len(PROMPTS))] for _ in range(chance.randint(0, 8 - rows))]
        if news:
            rows += len(news)
            if not close(slots.admit(news), separate.admit(news)):
                return False
        if rows:
            tokens = [chance.randrange(3, 288) for _ in range(rows)]
            if not close(slots.decode(tokens), separate.decode(tokens)):
                return False
        for _ in range(chance.randint(0, rows)):
            row = chance.randrange(rows)
            slots.evict(row)
            separate.evict(row)
            rows -= 1
    return True


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), share=st.booleans())
def test_rows_may_come_and_go_in_any_order(seed: int, share: bool) -> None:
    assert same_all_the_way(MODEL, seed, steps=8, share=share)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), tiny_model.FULL_ATTENTION)
def test_every_family_with_full_attention_shares_prompts(name: str, changes: dict[str, Any]) -> None:
    model = tiny_model.family(name, **changes)
    assert fit.unsuited(model, share=True) is None
    assert same_all_the_way(model, seed=4, steps=6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [("Gemma2", {"head_dim": 32}), ("Mistral", {"sliding_window": 8}), ("Qwen2", {"attn_implementation": "eager"})],
)
def test_attention_of_another_kind_is_not_replaced(name: str, changes: dict[str, Any]) -> None:
    assert fit.unsuited(tiny_model.family(name, **changes), share=True) is not None


def test_softmax_over_two_sets_of_keys_is_that_over_their_union() -> None:
    torch.manual_seed(2)
    query, key, value = torch.randn(5, 2, 3, 16), torch.randn(5, 2, 7, 16), torch.randn(5, 2, 7, 16)
    prompt = (torch.randn(1, 2, 11, 16), torch.randn(1, 2, 11, 16))
    order = (3, 0, 4)
    prefixes = attention.Prefixes([attention.Group(order, [prompt])], 5, torch.device("cpu"))
    own, own_sum = attention.softmax_over(query, key, value, None, 0.25)
    found = attention._merged(query, own, own_sum, prefixes, 0, 0.25)
    for row in range(5):
        keys, values = key[row : row + 1], value[row : row + 1]
        if row in order:
            keys, values = torch.cat([prompt[0], keys], 2), torch.cat([prompt[1], values], 2)
        scores = query[row : row + 1] @ keys.transpose(-1, -2) * 0.25
        assert torch.allclose(found[row : row + 1], scores.softmax(-1) @ values, atol=1e-5)


def test_the_logarithm_of_the_sum_is_that_of_the_plain_formula() -> None:
    torch.manual_seed(3)
    query, key, value = torch.randn(2, 2, 3, 16), torch.randn(2, 2, 7, 16), torch.randn(2, 2, 7, 8)
    mask = torch.zeros(2, 1, 1, 7)
    mask[:, :, :, 5:] = torch.finfo(torch.float32).min
    plain = attention.softmax_over(query, key, value, mask, 0.25)  # heads of two sizes: the plain formula
    fused = attention.softmax_over(query, key, torch.cat([value, value], -1), mask, 0.25)
    assert torch.allclose(fused[0][..., :8], plain[0], atol=1e-5)
    assert torch.allclose(fused[1], plain[1], atol=1e-5)


@torch.inference_mode()
def test_a_shared_prompt_is_kept_once_and_not_in_the_slots() -> None:
    decoder = SlotDecoder(MODEL, 6)
    decoder.admit([PROMPTS[2]] * 2)
    decoder.decode([5, 6])
    assert [(row.own, row.shared) for row in decoder._rows] == [(31, 0), (31, 0)]
    decoder.admit([PROMPTS[2], PROMPTS[1]])
    assert [(row.own, row.shared) for row in decoder._rows] == [(1, 30), (1, 30), (0, 30), (9, 0)]
    for row in (2, 1, 0):
        decoder.evict(row)
    assert decoder._shared == {}
