"""Pages on any device: kernels in torch, whose recorded steps stay valid while rows join, fork, share and leave."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmeval.engine import decoder_choice
from swarmeval.engine.graphs import Graphs
from swarmeval.engine.kernels import native
from swarmeval.engine.kernels.portable import PortableKernels
from swarmeval.engine.kernels.ragged_attention import ReferenceAttention, difference, flash_attention
from swarmeval.engine.paged import PagedDecoder
from swarmeval.engine.steps import Step
from tests.support import tiny_model
from tests.support.decoder_comparison import PROMPTS, ROWS, admit, close, same_all_the_way
from tests.support.graph_recorder import Tape, host_waits

pytestmark = pytest.mark.usefixtures("one_thread")
MODEL = tiny_model.model()


def kernels(page: int = 16, dtype: torch.dtype = torch.float32) -> PortableKernels:
    return PortableKernels(ReferenceAttention(page), dtype, torch.device("cpu"))


def paged(page: int = 16, share: bool = True, step: Step | None = None, model: Any = MODEL) -> PagedDecoder:
    return PagedDecoder(model, kernels(page), 2 * ROWS, 200, [8, 16, 64], 512, share, step)


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10_000), page=st.sampled_from([16, 32, 256]), share=st.booleans(), record=st.booleans())
def test_rows_may_join_and_leave_in_any_order(seed: int, page: int, share: bool, record: bool) -> None:
    step = Graphs(Tape().begin) if record else None
    assert same_all_the_way(MODEL, lambda _: paged(page, share, step), seed, steps=8)


@torch.inference_mode()
def test_one_recording_serves_rows_that_join_fork_share_and_leave() -> None:
    tape = Tape()
    decoder, plain = paged(step=Graphs(tape.begin)), paged(share=False)
    for each in (decoder, plain):
        admit(each, [PROMPTS[2], PROMPTS[1], PROMPTS[2]])
        each.decode([5, 6, 7])
    assert tape.recorded == 1
    for each in (decoder, plain):
        assert each.fork(0, len(PROMPTS[2]) + 1, 40)
        each.evict(1)  # the fork takes its place
        admit(each, [PROMPTS[1], PROMPTS[2]])
    assert close(decoder.decode([9, 8, 7, 6, 5]), plain.decode([9, 8, 7, 6, 5]))
    assert (tape.recorded, tape.replayed) == (1, 2)


@torch.inference_mode()
def test_a_parked_answer_is_prefilled_behind_its_prompt() -> None:
    decoder, plain = paged(), paged()
    answer = (5, 6, 7, 8) * 6
    assert decoder.join(PROMPTS[2], 40, answer) is not None
    assert decoder.join(PROMPTS[1], 40) is not None
    logits = decoder.prefill()
    admit(plain, [PROMPTS[2], PROMPTS[1]])
    for token in answer:
        expected = plain.decode([token, 3])
    assert close(logits[0], expected[0])


@torch.inference_mode()
def test_a_decode_step_never_waits_for_the_device() -> None:
    decoder = paged()
    admit(decoder, [PROMPTS[2], PROMPTS[1], PROMPTS[2]])
    assert host_waits(lambda: decoder.decode([5, 6, 7])) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), tiny_model.FULL_ATTENTION)
def test_every_family_with_full_attention_is_served(name: str, changes: dict[str, Any]) -> None:
    model, tape = tiny_model.family(name, **changes), Tape()
    budget = tiny_model.budget(model, 4)
    found = decoder_choice.fitted(model, budget, None, begin=tape.begin, portable=kernels())
    assert found.name == "pages, CUDA graphs"
    assert same_all_the_way(model, lambda _: paged(model=model), seed=4, steps=6)


@pytest.mark.parametrize(("window", "name"), [(8, "one by one"), (512, "pages")])
def test_a_window_that_holds_the_longest_row_is_no_window(window: int, name: str) -> None:
    model = tiny_model.family("Mistral", sliding_window=window)
    assert decoder_choice.fitted(model, tiny_model.budget(model, 4), None, portable=kernels()).name == name


@pytest.mark.parametrize("installed", [False, True])
def test_rows_decoded_one_by_one_name_vllm_where_it_is_installed(
    installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if installed:
        (tmp_path / "vllm.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
    model = tiny_model.family("Mistral", sliding_window=8)
    decoder_choice.fitted(model, tiny_model.budget(model, 4), None)
    named = ["vLLM is installed and may decode rows of this model together: set fleet: vllm"]
    assert caplog.messages[1:] == named * installed


def test_a_run_of_short_requests_is_limited_to_the_window() -> None:
    model = tiny_model.family("Mistral", sliding_window=100)
    budget = tiny_model.budget(model, 4)
    assert decoder_choice.within_window(model, budget) == budget  # the longest request is unknown
    assert decoder_choice.within_window(model, replace(budget, longest_tokens=101)).context_tokens == 512
    short = decoder_choice.within_window(model, replace(budget, longest_tokens=100))
    assert short.context_tokens == 100
    assert decoder_choice.fitted(model, short, None, portable=kernels()).name == "pages"


def test_kernels_that_give_other_logits_are_not_used(caplog: pytest.LogCaptureFixture) -> None:
    class Forgetful(PortableKernels):
        def put(self, *_: Any) -> None:
            pass

    forgetful = Forgetful(ReferenceAttention(), torch.float32, torch.device("cpu"))
    found = decoder_choice.fitted(MODEL, tiny_model.budget(MODEL, 4), None, portable=forgetful)
    assert found.name == "slots, prompts shared"
    assert [message.split(" by ")[0] for message in caplog.messages] == [
        "no pages: the logits of LlamaForCausalLM change"
    ]


def test_the_reference_agrees_with_the_compiled_kernels() -> None:
    model = tiny_model.model(head_dim=32)
    compiled = PagedDecoder(model, native.load(torch.float32), 2 * ROWS, 200, [16, 64], 512)
    assert decoder_choice.unsuited(model, lambda _: compiled) is None
    assert difference(ReferenceAttention(256), torch.device("cpu"), torch.bfloat16) < 0.01


def test_without_a_gpu_there_is_no_flash_attention(caplog: pytest.LogCaptureFixture) -> None:
    assert flash_attention(torch.device("cpu"), torch.bfloat16) is None
    assert caplog.messages[0].startswith("no FlashAttention over pages: ")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_small_functions_agree_with_the_compiled_ones(dtype: torch.dtype) -> None:
    compiled, portable, chance = native.load(dtype), kernels(dtype=dtype), torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=chance).to(dtype)

    weight, values, joined = normal(64), normal(1, 5, 64), normal(5, 8, 32)
    turn = normal(1, 5, 32), normal(1, 5, 32)
    place = torch.arange(5, dtype=torch.int32)
    expected, found = joined.clone(), joined.clone()
    for each, into in ((compiled, expected), (portable, found)):
        pools = each.pool(1, 2, 32), each.pool(1, 2, 32)
        each.rotate_and_put(into, *turn, *pools, torch.zeros_like(place), place)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    torch.testing.assert_close(portable.rms_norm(values, weight, 1e-5), compiled.rms_norm(values, weight, 1e-5))
    torch.testing.assert_close(portable.gate(values), compiled.gate(values), rtol=0.02, atol=0.01)
