"""The decode loop over a tiny random model: a reply never depends on the other requests in the batch."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from swarmeval.engine.separate import SeparateDecoder
from swarmeval.requests import Message, Refusal, Reply, Request, Sampling
from tests.support import tiny_model
from tests.support.tiny_engine import (
    GREEDY,
    MODEL,
    TOKENIZER,
    WARM,
    answer,
    engine,
    finish,
    generated,
    requests,
    streamed,
    texts,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [1.0, 1.3])
@pytest.mark.parametrize(("rows", "agents"), [(1, 2), (3, 2), (8, 2), (4, 5), (8, 5), (12, 12)])
def test_greedy_replies_equal_generate_one_by_one(rows: int, agents: int, penalty: float) -> None:
    sampling = Sampling(max_new_tokens=24, do_sample=False, repetition_penalty=penalty)
    wanted = requests(12, sampling, agents)
    assert texts(engine(rows), wanted) == {request.job_id: generated(request) for request in wanted}


@pytest.mark.slow
@pytest.mark.parametrize("agents", [2, 5])
def test_sampled_replies_depend_on_the_seed_and_not_on_the_rows(agents: int) -> None:
    wanted = requests(10, WARM, agents)
    alone = texts(engine(1), wanted)
    assert texts(engine(3), wanted) == alone
    assert texts(engine(8), list(reversed(wanted))) == alone
    assert alone["0/t/0/0"] != alone["1/t/0/0"]  # same prompt, different seed


@pytest.mark.slow
def test_separate_rows_give_the_replies_of_slots() -> None:
    wanted = requests(6, WARM)
    assert texts(engine(3, decoder=SeparateDecoder(MODEL)), wanted) == texts(engine(3), wanted)


@pytest.mark.slow
def test_slots_grow_when_replies_are_long() -> None:
    wanted = requests(4, Sampling(max_new_tokens=300, do_sample=False))
    model = tiny_model.model(eos_token_id=2)
    model.generation_config.eos_token_id = None
    found = answer(engine(2, model), wanted)
    for request in wanted:
        assert found[request.job_id].text == generated(request, model)


@pytest.mark.slow
def test_beam_search_equals_generate() -> None:
    wanted = requests(3, Sampling(max_new_tokens=12, do_sample=False, num_beams=3))
    assert texts(engine(2), wanted) == {request.job_id: generated(request) for request in wanted}


@pytest.mark.slow
def test_a_model_with_a_sliding_window_is_decoded_row_by_row(caplog: pytest.LogCaptureFixture) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=288, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, sliding_window=8, eos_token_id=1, initializer_range=0.2,
    )  # fmt: skip
    model = MistralForCausalLM(config).eval()
    wanted = requests(4)
    found = texts(engine(4, model), wanted)
    assert caplog.messages == [
        "rows are decoded one by one: its attention window of 8 tokens is shorter than a row of up to 512"
    ]
    assert found == {request.job_id: generated(request, model) for request in wanted}


def test_a_reply_carries_its_counts_and_times() -> None:
    request = Request("0/t/0/0", 1, Sampling(max_new_tokens=5, do_sample=False), text="abc")
    reply = answer(engine(1), [request])["0/t/0/0"]
    assert (reply.prompt_tokens, reply.output_tokens, reply.finish_reason) == (4, 5, "length")
    assert 0 <= reply.queue_s <= reply.ttft_s <= reply.latency_s


def test_the_end_of_text_token_stops_a_row_and_is_not_counted() -> None:
    model = tiny_model.model()
    ids = greedy_ids(model, "abc", 4)
    model.generation_config.eos_token_id = [ids[-1]]
    reply = answer(engine(1, model), [Request("0/t/0/0", 1, GREEDY, text="abc")])["0/t/0/0"]
    assert (reply.output_tokens, reply.finish_reason) == (ids.index(ids[-1]), "stop")
    assert reply.text == TOKENIZER.decode(ids[: ids.index(ids[-1])])


def greedy_ids(model: Any, text: str, count: int) -> list[int]:
    """The most likely tokens after the text, computed without a cache."""
    ids = list(TOKENIZER(text)["input_ids"])
    with torch.inference_mode():
        for _ in range(count):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[-count:]


def test_a_stop_string_ends_the_reply_before_it() -> None:
    whole = answer(engine(1), [Request("0/t/0/0", 1, GREEDY, text="abc")])["0/t/0/0"].text
    stop = next(letter for place, letter in enumerate(whole) if place > 2 and letter.isascii())
    sampling = Sampling(max_new_tokens=24, do_sample=False, stop=("never", stop))
    reply = answer(engine(1), [Request("0/t/0/0", 1, sampling, text="abc")])["0/t/0/0"]
    assert (reply.text, reply.finish_reason) == (whole[: whole.index(stop)], "stop")
    assert reply.output_tokens < 24


def test_a_request_may_fill_the_context_but_not_exceed_it() -> None:
    served = engine(1, tiny_model.model(context_tokens=34))
    whole, longer = (Request(f"{n}/t/0/0", 1, GREEDY, text="a" * n) for n in (9, 10))
    reply = answer(served, [whole])["9/t/0/0"]
    assert (reply.prompt_tokens, reply.output_tokens, reply.finish_reason) == (10, 24, "length")
    served.submit(longer)
    assert finish(served) == [
        Refusal(
            "10/t/0/0",
            "the prompt has 11 tokens and max_new_tokens is 24; together they exceed the context of 34 tokens",
            retry=False,
        )
    ]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (
            Request("0/t/0/0", 1, GREEDY, text="a" * 512),
            "the prompt has 513 tokens and max_new_tokens is 24; together they exceed the context of 512 tokens",
        ),
        (
            Request("0/t/0/0", 1, Sampling(max_new_tokens=4, num_beams=2), text="a"),
            "num_beams above 1 requires do_sample: false",
        ),
    ],
)
def test_a_request_that_the_model_cannot_take_is_refused_without_retry(request_: Request, reason: str) -> None:
    served = engine(1)
    served.submit(request_)
    served.submit(Request("1/t/0/0", 1, GREEDY, text="abc"))
    refusal, reply = finish(served)
    assert refusal == Refusal("0/t/0/0", reason, retry=False)
    assert isinstance(reply, Reply)


def test_messages_are_rendered_with_the_chat_template() -> None:
    chat = Request("0/t/0/0", 1, GREEDY, messages=(Message("user", "hi"),))
    reply = answer(engine(1), [chat])["0/t/0/0"]
    assert reply.prompt_tokens == len(TOKENIZER("<user>hi\n<assistant>")["input_ids"])


def test_waiting_requests_can_be_dropped() -> None:
    served = engine(2)
    for request in requests(5):
        served.submit(request)
    served.step()
    assert served.drop_waiting() == ["2/t/0/0", "3/t/0/0", "4/t/0/0"]
    assert sorted(answer.job_id for answer in finish(served)) == ["0/t/0/0", "1/t/0/0"]


def test_streamed_requests_send_growing_text_and_the_same_answer() -> None:
    wanted = requests(6)
    silent = texts(engine(3), wanted)
    mixed = [replace(request, stream=place % 2 == 0) for place, request in enumerate(wanted)]
    told, found = streamed(engine(3), mixed)
    assert found == silent
    assert sorted(told) == ["0/t/0/0", "2/t/0/0", "4/t/0/0"]
    assert all(silent[job_id].startswith(text) for job_id, text in told.items())


def test_cancelling_frees_rows_and_leaves_the_others_untouched() -> None:
    wanted = requests(6)
    undisturbed = texts(engine(6), wanted)
    served = engine(3)
    for request in wanted:
        served.submit(request)
    served.step()
    served.cancel(["0/t/0/0", "4/t/0/0", "unknown"])
    assert (served.progress().rows_in_use, served.progress().waiting) == (2, 2)
    found = {answer.job_id: answer.text for answer in finish(served) if isinstance(answer, Reply)}
    assert found == {job_id: undisturbed[job_id] for job_id in ("1/t/0/0", "2/t/0/0", "3/t/0/0", "5/t/0/0")}


def test_progress_counts_output_tokens() -> None:
    served = engine(2)
    found = answer(served, requests(3))
    assert served.progress().output_tokens == sum(reply.output_tokens for reply in found.values())
    assert not served.busy()


class Scarce:
    """A decoder that runs out of memory at a chosen step if it has too many rows."""

    def __init__(self, inner: Any, rows: int, when: str, error: Exception | None = None) -> None:
        self._inner, self._limit, self._when = inner, rows, when
        self._rows = 0
        self._error = error or torch.OutOfMemoryError("made up")

    def join(self, prompt: tuple[int, ...], new_tokens: int, answer: Sequence[int] = ()) -> int | None:
        self._rows += 1
        self._check("join")
        return int(self._inner.join(prompt, new_tokens, answer))

    def fork(self, row: int, length: int, new_tokens: int) -> bool:
        forked = bool(self._inner.fork(row, length, new_tokens))
        self._rows += forked
        self._check("fork")
        return forked

    def extend(self, row: int, new_tokens: int) -> bool:
        return bool(self._inner.extend(row, new_tokens))

    def prefill(self) -> Any:
        self._check("prefill")
        return self._inner.prefill()

    def decode(self, tokens: Sequence[int]) -> Any:
        self._check("decode")
        return self._inner.decode(tokens)

    def evict(self, row: int) -> None:
        self._rows -= 1
        self._inner.evict(row)

    def clear(self) -> None:
        self._rows = 0
        self._inner.clear()

    def _check(self, now: str) -> None:
        if now == self._when and self._rows > self._limit:
            raise self._error


@pytest.mark.parametrize("when", ["join", "prefill", "decode"])
def test_out_of_memory_halves_the_rows_and_loses_nothing(when: str, caplog: pytest.LogCaptureFixture) -> None:
    wanted = [*requests(7, WARM), Request("7/t/0/0", 1, GREEDY, text="a" * 600)]
    undisturbed = texts(engine(8), wanted)
    served = engine(8, decoder=Scarce(SeparateDecoder(MODEL), 2, when))
    found = answer(served, wanted)
    assert {job_id: reply.text for job_id, reply in found.items()} == undisturbed
    said = [message.split(" rows")[0] for message in caplog.messages if message.startswith("out of")]
    assert said == ["out of memory: reduced to 4", "out of memory: reduced to 2"]
    assert served.progress().output_tokens == sum(reply.output_tokens for reply in found.values())


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_a_lack_of_memory_outside_of_torch_halves_the_rows_too(error: Exception) -> None:
    wanted = requests(4, WARM)
    served = engine(4, decoder=Scarce(SeparateDecoder(MODEL), 2, "decode", error))
    assert texts(served, wanted) == texts(engine(4), wanted)
    assert served.rows.most == 2


def test_other_errors_end_the_worker() -> None:
    served = engine(
        4, decoder=Scarce(SeparateDecoder(MODEL), 1, "decode", RuntimeError("CUDA error: misaligned address"))
    )
    for request in requests(4):
        served.submit(request)
    with pytest.raises(RuntimeError, match="misaligned"):
        finish(served)


def test_out_of_memory_with_one_row_ends_the_worker() -> None:
    served = engine(2, decoder=Scarce(SeparateDecoder(MODEL), 0, "prefill"))
    served.submit(requests(1)[0])
    with pytest.raises(torch.OutOfMemoryError):
        finish(served)


def test_nan_logits_are_a_failure_and_not_an_answer() -> None:
    model = tiny_model.model()
    with torch.no_grad():
        model.model.embed_tokens.weight[TOKENIZER("z")["input_ids"][-1]] = torch.nan
    served = engine(2, model)
    for name, text in (("0", "az"), ("1", "ab")):
        served.submit(Request(f"{name}/t/0/0", 1, GREEDY, text=text))
    refusal, reply = sorted(finish(served), key=lambda one: one.job_id)
    assert isinstance(refusal, Refusal)
    assert refusal.reason.startswith("the model's logits are not numbers")
    assert isinstance(reply, Reply)
    assert reply.text == generated(Request("1/t/0/0", 1, GREEDY, text="ab"), model)
