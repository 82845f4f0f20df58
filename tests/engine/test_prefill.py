"""Prompts prefilled together give the same results as alone, and none waits for a much longer one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.engine.prefill import MAX_PROMPTS, PADDING, Prefills, by_length
from tests.support import tiny_model

MODEL = tiny_model.model()


@given(lengths=st.lists(st.integers(1, 60), max_size=40))
def test_every_prompt_is_in_one_batch_of_bounded_size_and_padding(lengths: list[int]) -> None:
    prompts = [(index,) * length for index, length in enumerate(lengths)]
    batches = by_length(prompts)
    assert sorted(prompt for batch in batches for prompt in batch) == sorted(prompts)
    for batch in batches:
        assert 1 <= len(batch) <= MAX_PROMPTS
        assert sum(map(len, batch)) >= (1 - PADDING) * (len(batch) * max(map(len, batch)))


@pytest.mark.slow
@torch.inference_mode()
def test_prompts_computed_together_equal_prompts_computed_alone() -> None:
    prompts = [tuple(range(3, 3 + length)) for length in (9, 10, 11, 11, 40, 3, 41, 20)] + [tuple(range(50, 61))]
    together, alone = Prefills(MODEL, together=True).of(prompts), Prefills(MODEL, together=False).of(prompts)
    for found, wanted in zip(together, alone, strict=True):
        assert torch.allclose(found.logits, wanted.logits, rtol=1e-3, atol=1e-4)
        for ours, theirs in zip(found.cache.layers, wanted.cache.layers, strict=True):
            assert torch.allclose(ours.keys, theirs.keys, rtol=1e-3, atol=1e-4)
            assert torch.allclose(ours.values, theirs.values, rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_a_common_prefix_goes_through_the_model_once() -> None:
    lengths: list[int] = []
    model = tiny_model.model()
    model.register_forward_pre_hook(
        lambda module, args, given: lengths.append(given["input_ids"].numel()), with_kwargs=True
    )
    begin, prefills = tuple(range(3, 43)), Prefills(model, together=True)
    prefills.of([(*begin, 100), (*begin, 101), (*begin, 102)])
    prefills.of([(*begin, 103, 104)])
    assert lengths == [41, 2, 2]
