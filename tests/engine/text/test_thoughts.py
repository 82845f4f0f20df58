"""Thoughts in a model's output are separated, ended at their budget, streamed, and never searched for stop strings."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from swarmeval.engine.branches import Trees
from swarmeval.engine.opening import Opener
from swarmeval.engine.text.stopping import StopStrings
from swarmeval.engine.text.thoughts import ThoughtGrowth, Thoughts, markers_of
from swarmeval.engine.text.tokens import Detokenizer
from swarmeval.requests import Request, Sampling, Thinking
from tests.support import tiny_model
from tests.support.tiny_engine import GREEDY, MODEL, TOKENIZER, WARM, answer, engine, finish, generated

pytestmark = pytest.mark.usefixtures("one_thread")
THINK = Thinking("<think>", "</think>")
PIECES = st.lists(st.sampled_from(["<think>", "</think>", "<", "/", "think>", " ", "\n", "ab", "é", "x=1"]), max_size=9)


def ids_of(text: str) -> list[int]:
    return list(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def thoughts(prompt: str = "<assistant>", thinking: Thinking = THINK) -> Thoughts:
    return Thoughts(TOKENIZER, ids_of(prompt), thinking)


def no_stops(stops: Sequence[str] = ()) -> StopStrings:
    return StopStrings(Detokenizer(TOKENIZER, ()), stops)


def asked(job: int, sampling: Sampling, thinking: Thinking | None = None, stream: bool = False) -> Request:
    return Request(f"{job}/t/0/0", job * 7919, sampling, text="def f(x):\n", thinking=thinking, stream=stream)


@pytest.mark.parametrize(
    ("prompt", "output", "thought", "answer"),
    [
        ("<assistant>", "<think>a b</think>c", "a b", "c"),
        ("<assistant><think>\n", "a b</think>\nc", "a b", "\nc"),
        ("<assistant><think>\n", "a b", "a b", ""),
        ("<assistant><think>\n\n</think>\n\n", "c</think>", "", "c</think>"),  # thinking is switched off
        ("<assistant>", "c</think>", "", "c</think>"),
        ("<assistant>", "<thi", "", "<thi"),
        ("<assistant>", "", "", ""),
        ("<assistant>", "<think>é</think>é", "é", "é"),
    ],
)
def test_the_prompt_or_the_output_opens_a_thought(prompt: str, output: str, thought: str, answer: str) -> None:
    parts = thoughts(prompt).parts(ids_of(output), no_stops())
    assert (parts.thought, parts.text, parts.stopped) == (thought, answer, False)
    assert parts.thought_tokens == len(ids_of(output.removesuffix(answer)))


def test_a_prefill_can_begin_a_thought() -> None:
    """Its end is then no start marker, so that the prompt alone does not show it."""
    found = Thoughts(TOKENIZER, ids_of("<assistant><think>\nOkay, so"), THINK, opened=True)
    parts = found.parts(ids_of(" b</think>c"), no_stops())
    assert (parts.thought, parts.text) == ("b", "c")


def test_text_in_the_last_token_of_an_end_marker_begins_the_answer() -> None:
    found, output = thoughts(thinking=Thinking("<think>", "</d")), ids_of("<think>a</def x")
    assert TOKENIZER.convert_tokens_to_ids("def") in output
    parts = found.parts(output, no_stops())
    assert (parts.thought, parts.text) == ("a", "ef x")
    assert found.parts(output, no_stops(["f x"])).text == "e"
    growth, sent = ThoughtGrowth(found, no_stops()), ""
    for count in range(1, len(output) + 1):
        sent += growth.more(output[:count], found.answer_start(output[:count]))[0]
    assert sent == "ef x"


@given(PIECES, st.booleans())
def test_streamed_pieces_are_prefixes_of_thought_and_answer(pieces: list[str], opened: bool) -> None:
    found = thoughts("<assistant><think>" if opened else "<assistant>")
    growth, output = ThoughtGrowth(found, no_stops()), ids_of("".join(pieces))
    sent = ["", ""]
    for count in range(1, len(output) + 1):
        start = found.answer_start(output[:count])
        sent = [a + b for a, b in zip(sent, growth.more(output[:count], start), strict=True)]
    whole = found.parts(output, no_stops())
    assert (whole.text.startswith(sent[0]), whole.thought.startswith(sent[1])) == (True, True)
    if whole.text and found.answer_start(output) is not None:
        assert sent[1] == whole.thought


@pytest.mark.slow
def test_a_stop_string_ends_the_answer_and_not_the_thought() -> None:
    whole = generated(asked(0, GREEDY))
    start, stop, end = whole[:1], whole[3:5], whole[8:10]
    thinking = Thinking(start, end)
    reply = answer(engine(2), [asked(0, replace(GREEDY, stop=(stop,)), thinking)])["0/t/0/0"]
    assert (reply.reasoning, reply.text) == (
        whole[1:].partition(end)[0].strip(),
        whole.partition(end)[2].partition(stop)[0],
    )
    assert stop in reply.reasoning


OPENED = "def f(x):\n<think>"


def limited(count: int, sampling: Sampling, budget: int = 6) -> list[Request]:
    thinking = Thinking("<think>", "</think>", budget)
    return [Request(f"{job}/t/0/0", job * 7919, sampling, text=OPENED, thinking=thinking) for job in range(count)]


def test_a_greedy_answer_after_a_full_budget_equals_generate_from_there() -> None:
    def continued(ids: list[int], count: int) -> list[int]:
        made: list[int] = MODEL.generate(torch.tensor([ids]), max_new_tokens=count, do_sample=False)[0].tolist()
        return made

    reply = answer(engine(2), limited(1, GREEDY))["0/t/0/0"]
    thought = continued(list(TOKENIZER(OPENED)["input_ids"]), 6)
    whole = continued(thought + ids_of("</think>"), GREEDY.max_new_tokens - 6 - len("</think>"))
    assert reply.text == TOKENIZER.decode(whole[len(thought) + len("</think>") :], skip_special_tokens=True)
    assert (reply.reasoning_tokens, reply.output_tokens) == (6 + len("</think>"), GREEDY.max_new_tokens)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_budgets_bind_every_sampled_reply_whatever_is_shared(rows: int) -> None:
    jobs = limited(8, WARM) + [replace(job, job_id=f"9{job.job_id}") for job in limited(4, WARM, budget=9)]
    alone = answer(engine(1, share_answers=False), jobs)
    shared = engine(rows)
    for found in (answer(shared, jobs), answer(shared, jobs)):  # the second time along the known tree
        for job_id, reply in found.items():
            assert (reply.reasoning, reply.text) == (alone[job_id].reasoning, alone[job_id].text)
            assert (reply.reasoning_tokens or 0) <= (9 if job_id.startswith("9") else 6) + len("</think>")
    assert len({reply.text for reply in alone.values() if reply.text}) > 1


@pytest.mark.slow
def test_a_thought_that_never_ends_leaves_no_answer() -> None:
    start = generated(asked(0, GREEDY))[:1]
    reply = answer(engine(2), [asked(0, GREEDY, Thinking(start, "</think>"))])["0/t/0/0"]
    assert (reply.text, reply.finish_reason, reply.reasoning_tokens) == ("", "length", 24)
    assert reply.reasoning == generated(asked(0, GREEDY))[1:].strip()


@pytest.mark.slow
def test_a_streamed_thought_arrives_before_the_answer() -> None:
    start = generated(asked(0, GREEDY))[:1]
    job = asked(0, GREEDY, Thinking(start, "</think>", 6), stream=True)
    streaming, pieces = engine(2), []
    streaming.submit(job)
    replies: list[Any] = []
    while streaming.busy():
        replies += streaming.step()
        pieces += streaming.pieces()
    assert replies == finish(streaming) + replies
    first = next(place for place, piece in enumerate(pieces) if piece.text)
    assert all(piece.text or place < first for place, piece in enumerate(pieces))
    assert "".join(piece.reasoning for piece in pieces) == replies[0].reasoning
    assert replies[0].text.startswith("".join(piece.text for piece in pieces))


def test_the_family_of_a_model_is_read_from_its_template() -> None:
    made = tiny_model.tokenizer(template="{% if enable_thinking %}<think>{% endif %}")
    assert (markers_of(made), markers_of(tiny_model.tokenizer())) == (THINK, None)


def test_a_budget_below_the_start_marker_ends_the_thought_right_after_it() -> None:
    found, start, end = thoughts(thinking=Thinking("<think>", "</think>", 1)), ids_of("<think>"), ids_of("</think>")
    assert [found.forced(start[:count]) for count in range(len(start))] == [None] * len(start)
    assert [found.forced([*start, *end[:count]]) for count in range(len(end))] == end
    assert found.forced([*start, *end]) is None


def test_a_stop_string_is_found_by_whichever_member_is_asked() -> None:
    """Members of a cohort share their history, and only one of them is asked after each token."""
    opener = Opener(TOKENIZER, 512, Trees(share=True), {"": 0})
    job = Request("0/t/0/0", 0, replace(GREEDY, stop=("!",), max_new_tokens=400), text=OPENED, thinking=THINK)
    member = opener.member(job, 0.0)
    output = ids_of("a long enough thought that has no end " * 2)
    assert member.finish_reason(output[:20]) is None
    output += ids_of("</think> and an answer that is longer than the marker")
    assert member.finish_reason(output) is None
    assert member.finish_reason([*output, *ids_of("!")]) == "stop"
