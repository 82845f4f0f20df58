"""Paged decoding with compiled attention agrees with plain decoding, with bits that do not depend on other rows."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from swarmeval.engine import decoder_choice
from swarmeval.engine.kernels import native
from swarmeval.engine.kernels.native import NativeKernels
from swarmeval.engine.paged import KEPT_LOGITS, PagedDecoder
from swarmeval.engine.weights import fused
from tests.support import tiny_model
from tests.support.decoder_comparison import PROMPTS, ROWS, admit, same_all_the_way

pytestmark = pytest.mark.usefixtures("one_thread")
MODEL = tiny_model.model()
SIZES = [16, 32, 48, 64]


def kernels(dtype: torch.dtype = torch.float32) -> NativeKernels:
    return native.load(dtype)


def paged(model: Any = MODEL, rows: int = ROWS, pages: int = 200, share: bool = True) -> PagedDecoder:
    return PagedDecoder(model, kernels(model.dtype), rows, pages, SIZES, 512, share)


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), share=st.booleans())
def test_rows_may_join_and_leave_in_any_order(seed: int, share: bool) -> None:
    assert same_all_the_way(MODEL, lambda rows: paged(rows=rows, share=share), seed, steps=8)


@pytest.mark.slow
@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize(("name", "changes"), tiny_model.FULL_ATTENTION)
def test_every_family_with_full_attention_is_served(name: str, changes: dict[str, Any], fuse: bool) -> None:
    model = tiny_model.family(name, **changes)
    plain = copy.deepcopy(model)
    if fuse:
        fused.fuse(model, kernels())
    found = decoder_choice.fitted(model, tiny_model.budget(model, 4), kernels())
    assert found.name == "pages"
    assert same_all_the_way(plain, lambda rows: paged(model, rows), seed=4, steps=6)


@pytest.mark.parametrize(
    ("name", "changes"), [("Gemma2", {"head_dim": 32}), ("Mistral", {"sliding_window": 8}), ("Llama", {"head_dim": 24})]
)
def test_attention_of_another_kind_is_not_replaced(name: str, changes: dict[str, Any]) -> None:
    model = tiny_model.family(name, **changes)
    assert decoder_choice.fitted(model, tiny_model.budget(model, 4), kernels()).name != "pages"


@torch.inference_mode()
def test_a_row_gets_the_same_bits_in_any_batch() -> None:
    alone, crowd = paged(rows=1), paged(rows=ROWS)
    mine = PROMPTS[3]
    wanted = [admit(alone, [mine])[0]]
    found = [admit(crowd, [PROMPTS[0], PROMPTS[4], mine, mine, PROMPTS[2]])[2]]
    for step in range(20):
        wanted.append(alone.decode([step + 5])[0])
        found.append(crowd.decode([9, 8, step + 5, 7, 6] if step < 10 else [9, 6, step + 5, 7])[2])
        if step == 9:
            crowd.evict(1)  # the last row takes its place
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


@torch.inference_mode()
def test_a_prompt_with_a_reused_prefix_gets_the_bits_it_gets_alone() -> None:
    begins_alike = (*PROMPTS[3][:40], 7, 8, 9)
    wanted = admit(paged(), [begins_alike])
    decoder = paged()
    admit(decoder, [PROMPTS[3]])
    assert decoder.join(begins_alike, 4) == len(begins_alike) - 32  # two whole pages are reused
    assert torch.equal(decoder.prefill(), wanted)


@torch.inference_mode()
def test_a_prompt_whose_logits_are_forgotten_gives_them_again() -> None:
    model, passes = tiny_model.model(), list[int]()
    model.register_forward_hook(lambda *_: passes.append(1))
    decoder = paged(model)
    wanted = admit(decoder, [PROMPTS[2]])
    for token in range(KEPT_LOGITS):
        admit(decoder, [(token, 5)])
        decoder.evict(1)
    assert decoder.join(PROMPTS[2], 4) == 0
    passes.clear()
    assert torch.equal(decoder.prefill(), wanted)
    assert passes == [1]


@torch.inference_mode()
def test_a_prompt_with_forgotten_pages_is_read_again_despite_known_logits() -> None:
    decoder, other = paged(pages=12), tuple(range(100, 276))
    admit(decoder, [PROMPTS[2]])
    wanted = decoder.decode([5])
    decoder.evict(0)
    admit(decoder, [other], new_tokens=16)  # takes all pages
    decoder.evict(0)
    assert decoder.join(PROMPTS[2], 40) == len(PROMPTS[2])
    decoder.prefill()
    assert torch.equal(decoder.decode([5]), wanted)


@torch.inference_mode()
def test_a_row_waits_while_pages_are_short_and_joins_when_they_are_free() -> None:
    decoder = paged(pages=4)
    admit(decoder, [PROMPTS[2]], new_tokens=16)  # two pages of prompt, one of answer
    assert decoder.join(PROMPTS[1], 32) is None
    decoder.evict(0)
    assert decoder.join(PROMPTS[1], 32) == 9


@torch.inference_mode()
def test_forgotten_pages_are_computed_again() -> None:
    """Pages reserved for a prompt that never went through the model must not be reused."""
    decoder = paged()
    decoder.join(PROMPTS[3], 4)
    decoder.clear()
    assert decoder.join(PROMPTS[3], 4) == len(PROMPTS[3])
    assert torch.equal(decoder.prefill(), admit(paged(), [PROMPTS[3]]))


def test_a_model_with_experts_uses_pages_and_is_not_called_steady() -> None:
    model = tiny_model.family("Mixtral", num_local_experts=4)
    found = decoder_choice.fitted(model, tiny_model.budget(model, 4), kernels())
    assert (found.name, found.steady) == ("pages", False)


@pytest.mark.parametrize(
    ("index", "name", "reasons"),
    [
        (0, "one by one",
         ["rows are decoded one by one: its attention window of 32 tokens is shorter than a row of up to 512"]),
        (1, "slots",
         ["no compiled attention: GptOssForCausalLM fails with it: Unsupported: attention with s_aux",
          "rows share no prompts: GptOssForCausalLM uses eager attention"]),
    ],
)  # fmt: skip
def test_attention_with_sinks_is_not_replaced(
    index: int, name: str, reasons: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    family, changes = tiny_model.GPT_OSS[index]
    model = tiny_model.family(family, **changes)
    assert decoder_choice.fitted(model, tiny_model.budget(model, 4), kernels()).name == name
    assert caplog.messages == reasons


def test_a_model_whose_bits_depend_on_the_batch_is_not_called_steady() -> None:
    class Crowded(torch.nn.Module):
        """A norm whose last bits differ in larger batches, as happens in libraries."""

        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, values: Tensor) -> Tensor:
            found: Tensor = self.inner(values) * (1 + 1e-6 * (values.shape[1] > 100))
            return found

    model = tiny_model.model()
    assert decoder_choice.fitted(model, tiny_model.budget(model, 4), kernels()).steady
    model.model.norm = Crowded(model.model.norm)
    found = decoder_choice.fitted(model, tiny_model.budget(model, 4), kernels())
    assert (found.name, found.steady) == ("pages", False)


@torch.inference_mode()
def test_only_written_places_are_read() -> None:
    """Unwritten pages may hold any values."""
    clean, dirty = paged(), paged()
    for layer in dirty.cache.layers:
        layer.keys.fill_(float("nan"))
        layer.values.fill_(float("nan"))
    news = [PROMPTS[0], PROMPTS[3], PROMPTS[3]]
    assert torch.equal(admit(clean, news), admit(dirty, news))
    for token in range(5, 30):
        assert torch.equal(clean.decode([token] * 3), dirty.decode([token] * 3))


def plain_attention(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return ((query.float() @ keys.float().transpose(-1, -2)) * 0.3).softmax(-1) @ values.float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("heads", "key_heads", "size"), [(4, 4, 16), (9, 3, 64), (8, 2, 32), (20, 1, 48), (5, 5, 80)])
def test_compiled_attention_equals_the_formula(dtype: torch.dtype, heads: int, key_heads: int, size: int) -> None:
    """Calls put and attend as the decoder does, for all groupings of heads and fill levels of pages."""
    compiled, chance = kernels(dtype), torch.Generator().manual_seed(heads)
    counts = [(0, 1), (1, 0), (16, 17), (37, 3), (37, 40), (37, 0), (5, 16)]  # (shared, own) tokens per row
    groups = [0, 1, 2, 3, 3, 3, 4]
    pages = torch.full((30, key_heads, 16 * size), float("nan")).to(dtype)
    keys, values = pages.clone(), pages.clone()
    rows, free = [], iter(range(30))
    at: dict[int, tuple[list[int], Tensor, Tensor]] = {}

    def written(count: int) -> tuple[list[int], Tensor, Tensor]:
        mine = [next(free) for _ in range(-(-count // 16))]
        key, value = (torch.randn(count, key_heads, size, generator=chance).to(dtype) for _ in range(2))
        page = torch.tensor([mine[token // 16] for token in range(count)], dtype=torch.int32)
        offset = torch.arange(count, dtype=torch.int32) % 16
        compiled.put(key, value, keys, values, page, offset)
        return mine, key, value

    for (its_shared, its_own), its_group in zip(counts, groups, strict=True):
        if its_group not in at:
            at[its_group] = written(its_shared)
        first, second = at[its_group], written(its_own)
        rows.append((first[0] + second[0], torch.cat([first[1], second[1]]), torch.cat([first[2], second[2]])))
    table = torch.zeros(len(rows), 8, dtype=torch.int32)
    for index, (mine, _, _) in enumerate(rows):
        table[index, : len(mine)] = torch.tensor(mine)
    query = torch.randn(len(rows), heads + 3, size, generator=chance).to(dtype)[:, :heads]
    shared, own = (torch.tensor([pair[i] for pair in counts], dtype=torch.int32) for i in (0, 1))
    found = compiled.attend(query, keys, values, [table, shared, own, torch.tensor(groups).int()], 0.3)
    for index, (_, key, value) in enumerate(rows):
        key, value = (part.repeat_interleave(heads // key_heads, 1).transpose(0, 1) for part in (key, value))
        wanted = plain_attention(query[index][:, None], key, value)[:, 0]
        error = (found[index].float() - wanted).norm() / wanted.norm()
        assert error < {torch.float32: 1e-6, torch.bfloat16: 6e-3}[dtype], index


def test_a_row_without_tokens_gets_zeros() -> None:
    compiled = kernels()
    none = torch.zeros(1, dtype=torch.int32)
    pages = torch.full((1, 2, 16 * 16), float("nan"))
    found = compiled.attend(torch.ones(1, 2, 16), pages, pages, [none[None], none, none, none], 1.0)
    assert torch.equal(found, torch.zeros(1, 2, 16))
