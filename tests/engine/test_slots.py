"""Slots that share prompts agree with plain decoding as rows join and leave, in every family that supports them."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.engine import attention, decoder_choice
from swarmeval.engine.slots import SlotDecoder
from tests.support import tiny_model
from tests.support.decoder_comparison import PROMPTS, admit, same_all_the_way

pytestmark = pytest.mark.usefixtures("one_thread")
MODEL = tiny_model.model()


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), share=st.booleans())
def test_rows_may_join_and_leave_in_any_order(seed: int, share: bool) -> None:
    assert same_all_the_way(MODEL, lambda rows: SlotDecoder(MODEL, rows, share), seed, steps=8)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), tiny_model.FULL_ATTENTION)
def test_every_family_with_full_attention_shares_prompts(name: str, changes: dict[str, Any]) -> None:
    model = tiny_model.family(name, **changes)
    assert decoder_choice.fitted(model, tiny_model.budget(model, 4), None).name == "slots, prompts shared"
    assert same_all_the_way(model, lambda rows: SlotDecoder(model, rows), seed=4, steps=6)


class WithoutPrefixes(SlotDecoder):
    """Loses what its rows share before every step."""

    def decode(self, tokens: Sequence[int]) -> torch.Tensor:
        for layers in self.shared.values():
            for keys, values in layers:
                keys.zero_()
                values.zero_()
        return super().decode(tokens)


def test_sharing_of_prompts_is_tried_before_it_is_trusted() -> None:
    model = tiny_model.model()
    assert decoder_choice.unsuited(model, lambda rows: SlotDecoder(model, rows, share=True)) is None
    fault = decoder_choice.unsuited(model, lambda rows: WithoutPrefixes(model, rows, share=True))
    assert fault is not None
    assert fault.startswith("the logits of LlamaForCausalLM change by ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "wanted"),
    [
        ("Gemma2", {"head_dim": 32}, "slots"),  # its window holds the longest row; its scores have a soft cap
        ("Gemma2", {"head_dim": 32, "sliding_window": 8}, "one by one"),
        ("Mistral", {"sliding_window": 8}, "one by one"),
        ("Qwen2", {"attn_implementation": "eager"}, "slots"),
    ],
)
def test_attention_of_another_kind_is_not_replaced(name: str, changes: dict[str, Any], wanted: str) -> None:
    model = tiny_model.family(name, **changes)
    assert decoder_choice.fitted(model, tiny_model.budget(model, 4), None).name == wanted


def test_merged_attention_equals_attention_over_the_union() -> None:
    torch.manual_seed(2)
    query, key, value = torch.randn(5, 2, 3, 16), torch.randn(5, 2, 7, 16), torch.randn(5, 2, 7, 16)
    prompt = (torch.randn(1, 2, 11, 16), torch.randn(1, 2, 11, 16))
    order = (3, 0, 4)
    prefixes = attention.Prefixes([attention.RowGroup(order, [prompt])], 5, torch.device("cpu"))
    own, own_sum = attention.softmax_over(query, key, value, None, 0.25)
    found = attention.merged(query, own, own_sum, prefixes, 0, 0.25)
    for row in range(5):
        keys, values = key[row : row + 1], value[row : row + 1]
        if row in order:
            keys, values = torch.cat([prompt[0], keys], 2), torch.cat([prompt[1], values], 2)
        scores = query[row : row + 1] @ keys.transpose(-1, -2) * 0.25
        assert torch.allclose(found[row : row + 1], scores.softmax(-1) @ values, atol=1e-5)


def test_the_log_sum_exp_is_that_of_the_formula() -> None:
    torch.manual_seed(3)
    query, key, value = torch.randn(2, 2, 3, 16), torch.randn(2, 2, 7, 16), torch.randn(2, 2, 7, 8)
    mask = torch.zeros(2, 1, 1, 7)
    mask[:, :, :, 5:] = torch.finfo(torch.float32).min
    plain = attention.softmax_over(query, key, value, mask, 0.25)  # head sizes differ, so this uses the plain formula
    fused = attention.softmax_over(query, key, torch.cat([value, value], -1), mask, 0.25)
    assert torch.allclose(fused[0][..., :8], plain[0], atol=1e-5)
    assert torch.allclose(fused[1], plain[1], atol=1e-5)


def test_sixteen_bit_tensors_are_scored_in_32_bits() -> None:
    """Scores rounded to bf16 would change the output by five times as much."""
    torch.manual_seed(4)
    query, key, value = (
        torch.randn(4, 8, tokens, 128).bfloat16() * scale for tokens, scale in ((4, 2.0), (700, 1.0), (700, 1.0))
    )
    found, log_sum = attention.by_formula(query, key, value, None, 128**-0.5)
    scores = query.double() @ key.double().transpose(-1, -2) * 128**-0.5
    wanted = scores.softmax(-1) @ value.double()
    assert (found - wanted).norm() < 0.003 * wanted.norm()
    assert torch.allclose(log_sum.double(), scores.logsumexp(-1), atol=1e-4)


def test_on_a_gpu_the_scores_are_32_bits_without_a_copy_of_the_keys() -> None:
    """The call that only CUDA has, on a device without data."""
    query, key, value = (torch.empty(3, 2, tokens, 16, dtype=torch.bfloat16, device="meta") for tokens in (4, 50, 50))
    products = attention.products_on_cuda(query, key[:, :, :7])
    assert (products.shape, products.dtype) == ((3, 2, 4, 7), torch.float32)
    assert attention.by_formula(query, key, value, None, 1.0)[0].dtype == torch.bfloat16


@torch.inference_mode()
def test_a_shared_prompt_is_kept_once_and_not_in_the_slots() -> None:
    decoder = SlotDecoder(MODEL, 6)
    admit(decoder, [PROMPTS[2]] * 2)
    decoder.decode([5, 6])
    assert own_and_shared(decoder) == [(31, 0), (31, 0)]
    admit(decoder, [PROMPTS[2], PROMPTS[1]])
    assert own_and_shared(decoder) == [(1, 30), (1, 30), (0, 30), (9, 0)]
    for row in (2, 1, 0):
        decoder.evict(row)
    assert decoder.shared == {}


@torch.inference_mode()
def test_agents_with_their_own_prompts_share_the_common_prefix() -> None:
    decoder, begin = SlotDecoder(MODEL, 8), tuple(range(3, 23))
    theirs = [(*begin, *range(100 + 20 * agent, 105 + 20 * agent + agent)) for agent in range(3)]
    admit(decoder, theirs)
    assert own_and_shared(decoder) == [(5, 20), (6, 20), (7, 20)]
    assert len(decoder.shared) == 1
    admit(decoder, [theirs[0]] * 3)  # frequent enough for its whole prompt to be shared
    assert own_and_shared(decoder) == [(0, 25), (6, 20), (7, 20), (0, 25), (0, 25), (0, 25)]
    for row in (2, 1):
        decoder.evict(row)
    assert set(decoder.shared) == {theirs[0]}


def own_and_shared(decoder: SlotDecoder) -> list[tuple[int, int]]:
    return [(row.own, len(row.prefix)) for row in decoder.rows]
