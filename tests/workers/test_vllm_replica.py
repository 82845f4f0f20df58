"""A replica on vLLM's engine keeps thoughts apart like the built-in one. Its engine is a fake here."""

from typing import Any

import msgspec.structs
import pytest

from swarmeval.requests import Answer, Message, Piece, Refusal, Reply, Request, Sampling, Thinking
from swarmeval.workers.vllm_replica import VllmReplica
from tests.support.fake_vllm import FakeVllmEngine, RejectedByVllm
from tests.support.tiny_engine import TOKENIZER, engine

THINK = Thinking("<think>", "</think>", 99)
OUTPUT = "<think>Hm, #1 or #2.</think>x = 1  # one\ny = 2"


def ids_of(text: str) -> list[int]:
    return list(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def asked(thinking: Thinking | None = THINK, **changes: Any) -> Request:
    stream = bool(changes.pop("stream", False))
    sampling = Sampling(**{"max_new_tokens": 200, "do_sample": False, **changes})
    return Request("j", 1, sampling, text="def f():", thinking=thinking, stream=stream)


def finished(
    request: Request, per_step: int = 3, speculates: bool = False
) -> tuple[Answer, list[Piece], FakeVllmEngine]:
    fake = FakeVllmEngine(TOKENIZER, ids_of(OUTPUT), per_step)
    replica = VllmReplica(fake, TOKENIZER, engine(4).info(), dict, (RejectedByVllm,), speculates=speculates)
    replica.submit(request)
    answers: list[Answer] = []
    pieces: list[Piece] = []
    while replica.busy():
        answers += replica.step()
        pieces += replica.pieces()
    return answers[0], pieces, fake


def test_a_thought_is_kept_apart_from_vllms_text() -> None:
    reply, _, fake = finished(asked())
    assert isinstance(reply, Reply)
    assert (reply.reasoning, reply.text) == ("Hm, #1 or #2.", "x = 1  # one\ny = 2")
    assert reply.reasoning_tokens == len(ids_of(OUTPUT.partition("x")[0]))
    assert (reply.output_tokens, reply.finish_reason, reply.computed_tokens) == (len(ids_of(OUTPUT)), "stop", None)
    assert fake.asked[0]["thinking_token_budget"] == 99 - len("<think>")  # vLLM counts after the marker


def test_the_budget_includes_what_the_prompt_has_of_a_thought() -> None:
    request = msgspec.structs.replace(asked(), text=None, messages=(Message("user", "hi"),), prefill="<think>Hm, ")
    _, _, fake = finished(request)
    assert fake.asked[0]["thinking_token_budget"] == 99 + len("Hm, ")
    _, _, fake = finished(msgspec.structs.replace(request, thinking=Thinking("<think>", "</think>")))
    assert fake.asked[0]["thinking_token_budget"] is None


def test_the_marks_of_a_reply_say_what_its_first_tokens_completed() -> None:
    reply, _, _ = finished(msgspec.structs.replace(asked(), marks=True))
    assert isinstance(reply, Reply)
    before = len(ids_of(OUTPUT.partition("x")[0]))
    for tokens, characters in reply.marks:
        assert len(ids_of(reply.text[:characters])) == max(0, tokens - before)
    assert [tokens for tokens, _ in reply.marks] == [1, 2, 4, 8, 16, 32]
    reply, _, _ = finished(asked())
    assert isinstance(reply, Reply)
    assert reply.marks == ()


@pytest.mark.parametrize("per_step", [1, 3, 20])
def test_stop_strings_end_answers_and_not_thoughts(per_step: int) -> None:
    reply, _, fake = finished(asked(stop=("#",)), per_step)
    assert isinstance(reply, Reply)
    assert (reply.reasoning, reply.text, reply.finish_reason) == ("Hm, #1 or #2.", "x = 1  ", "stop")
    assert (fake.asked[0]["stop"], fake.aborted) == ([], ["j"])
    _, _, fake = finished(asked(thinking=None, stop=("#",)))
    assert (fake.asked[0]["stop"], fake.asked[0]["thinking_token_budget"]) == (["#"], None)


def test_without_markers_the_text_is_vllms() -> None:
    reply, pieces, _ = finished(asked(thinking=None, stream=True))
    assert isinstance(reply, Reply)
    assert (reply.text, reply.reasoning, reply.reasoning_tokens) == (OUTPUT, "", None)
    assert OUTPUT.startswith("".join(piece.text for piece in pieces))


def test_streamed_thoughts_arrive_before_the_answer() -> None:
    reply, pieces, _ = finished(asked(stream=True))
    assert isinstance(reply, Reply)
    assert "".join(piece.reasoning for piece in pieces) == reply.reasoning
    assert reply.text.startswith("".join(piece.text for piece in pieces))
    first = next(place for place, piece in enumerate(pieces) if piece.text)
    assert not any(piece.reasoning for piece in pieces[first + 1 :])


def test_requests_that_vllm_rejects_are_refused() -> None:
    refusal, _, _ = finished(asked(logit_bias=((5, 1.0),)))
    assert refusal == Refusal("j", "vLLM rejects the request: logit_bias is out of bounds", retry=False)


def test_settings_that_vllm_would_obey_wrongly_are_refused() -> None:
    refusal, _, _ = finished(asked(None, do_sample=True), speculates=True)
    lost = "vLLM 0.32 loses temperature, top_k and top_p where it speculates on a CPU; set do_sample: false"
    assert refusal == Refusal("j", lost, retry=False)
    refusal, _, _ = finished(asked(), speculates=True)
    wrong = "vLLM 0.32 may end a thought in the wrong reply where it speculates on a CPU; remove the thinking budget"
    assert refusal == Refusal("j", wrong, retry=False)
    assert isinstance(finished(asked(Thinking("<think>", "</think>")), speculates=True)[0], Reply)
    refusal, _, _ = finished(asked(num_beams=2))
    assert refusal == Refusal("j", "vLLM does not support beam search; set num_beams: 1", retry=False)
