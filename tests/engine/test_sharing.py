"""Sharing answers changes no reply: each is the one that the request gets alone, on every decoder."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from benchmarks.comparing import Ids, ids_of, letters
from swarmeval.engine.decoder import Decoder
from swarmeval.engine.engine import Engine
from swarmeval.engine.graphs import Graphs
from swarmeval.engine.kernels import native
from swarmeval.engine.kernels.portable import PortableKernels
from swarmeval.engine.kernels.ragged_attention import ReferenceAttention
from swarmeval.engine.paged import PagedDecoder
from swarmeval.engine.separate import SeparateDecoder
from swarmeval.engine.slots import SlotDecoder
from swarmeval.engine.steps import Eager
from swarmeval.requests import Answer, Reply, Request, Sampling
from tests.support import tiny_model
from tests.support.graph_recorder import Tape
from tests.support.tiny_engine import GREEDY, MODEL, TOKENIZER, answer, engine, finish, streamed

pytestmark = pytest.mark.usefixtures("one_thread")

PROMPTS = ("def f(x):\n", "def f(x):\n    return", "a" * 40, "b")
PORTABLE = PortableKernels(ReferenceAttention(32), torch.float32, torch.device("cpu"))
DECODERS: dict[str, Callable[[Any, int], Decoder]] = {
    "pages": lambda model, rows: PagedDecoder(
        model, native.load(torch.float32), rows, 16 * rows + 40, [2, 4, 16, 32, 48, 64], 512
    ),
    "few pages": lambda model, rows: PagedDecoder(
        model, native.load(torch.float32), rows, 12 + 2 * rows, [16, 32], 512
    ),
    "pages of any device, recorded": lambda model, rows: PagedDecoder(
        model, PORTABLE, rows, 5 * rows + 16, [8, 32, 64], 512, step=Graphs(Tape().begin)
    ),
    "slots, prompts shared": lambda model, rows: SlotDecoder(model, rows, share=True),
    "slots": lambda model, rows: SlotDecoder(model, rows, share=False),
    "slots, steps of fixed shape": lambda model, rows: SlotDecoder(model, rows, share=False, step=Eager()),
    "one by one": lambda model, rows: SeparateDecoder(model),
}


def made(decoder: str, rows: int, share: bool, model: Any = MODEL) -> Engine:
    if decoder == "pages of any device, recorded":
        return engine(rows, model, DECODERS[decoder](model, rows + 1), False, share, Tape().begin)
    return engine(rows, model, DECODERS[decoder](model, rows + 1), share_answers=share)


@dataclass(frozen=True)
class Load:
    """Requests, and when they arrive: index of the step before which each is submitted."""

    requests: tuple[Request, ...]
    arrivals: tuple[int, ...]


@st.composite
def loads(draw: st.DrawFn) -> Load:
    """Requests of a few prompts and many seeds, with settings of their own, in any order of arrival."""
    samplings = draw(st.lists(sampling(), min_size=1, max_size=3))
    count = draw(st.integers(1, 24))
    requests = tuple(
        Request(
            f"{number}/t/0/0",
            draw(st.integers(0, 40)),  # some seeds occur twice
            draw(st.sampled_from(samplings)),
            text=draw(st.sampled_from(PROMPTS)),
        )
        for number in range(count)
    )
    return Load(requests, tuple(draw(st.integers(0, 12)) for _ in requests))


@st.composite
def sampling(draw: st.DrawFn) -> Sampling:
    return Sampling(
        max_new_tokens=draw(st.integers(1, 24)),
        do_sample=draw(st.sampled_from([True, True, False])),
        temperature=draw(st.sampled_from([0.05, 0.15, 0.3, 1.0])),
        top_k=draw(st.sampled_from([0, 5, 40])),
        top_p=draw(st.sampled_from([0.7, 1.0])),
        repetition_penalty=draw(st.sampled_from([1.0, 1.2])),
        stop=draw(st.sampled_from([(), ("\x10", "e")])),
    )


def served(made: Engine, load: Load) -> dict[str, Reply]:
    answers: list[Answer] = []
    for step in range(1 + max(load.arrivals)):
        for request, arrival in zip(load.requests, load.arrivals, strict=True):
            if arrival == step:
                made.submit(request)
        answers += made.step()
    answers += finish(made)
    assert len(answers) == len(load.requests)
    return {reply.job_id: reply for reply in answers if isinstance(reply, Reply)}


def of(reply: Reply) -> tuple[str, int, str]:
    return reply.text, reply.output_tokens, reply.finish_reason


def alone(request: Request, decoder: str) -> tuple[str, int, str]:
    """The reply of a decoder that computes this request only."""
    return of(answer(made(decoder, 1, share=False), [request])[request.job_id])


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["pages", "one by one"])
@settings(deadline=None, max_examples=25, phases=[Phase.reuse, Phase.generate])
@given(load=loads(), rows=st.integers(1, 9))
def test_each_reply_is_the_one_that_the_request_gets_alone(attention: str, load: Load, rows: int) -> None:
    """Whatever the seeds, settings, order of arrival and number of rows. Settings may differ within a task.

    Each decoder is compared with the one of the same attention: the rounding of others may differ.
    """
    expected = {request.job_id: alone(request, attention) for request in load.requests}
    for decoder in DECODERS:
        if ("pages" in decoder) == (attention == "pages"):
            found = served(made(decoder, rows, share=True), load)
            assert {job: of(reply) for job, reply in found.items()} == expected, decoder
            assert all(0 <= reply.queue_s <= reply.ttft_s <= reply.latency_s for reply in found.values())
            assert all(reply.computed_tokens is not None for reply in found.values())


@pytest.mark.slow
@settings(deadline=None, max_examples=15, phases=[Phase.reuse, Phase.generate])
@given(load=loads(), rows=st.integers(2, 9), fault=st.integers(1, 20), cancelled=st.sets(st.integers(0, 23)))
def test_a_lack_of_memory_and_cancelled_requests_change_no_reply(
    load: Load, rows: int, fault: int, cancelled: set[int]
) -> None:
    one = made("pages", rows, share=True)
    real, calls = one.rows.decoder.decode, 0

    def decode(tokens: Sequence[int]) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == fault and len(tokens) > 1:
            raise torch.OutOfMemoryError("made up")
        return real(tokens)

    one.rows.decoder.decode = decode  # type: ignore[method-assign]
    for request in load.requests:
        one.submit(request)
    answers = one.step() + one.step()
    gone = {f"{number}/t/0/0" for number in cancelled}
    one.cancel(gone)
    found = {reply.job_id: reply for reply in [*answers, *finish(one)] if isinstance(reply, Reply)}
    assert found.keys() >= {request.job_id for request in load.requests} - gone
    for request in load.requests:
        if reply := found.get(request.job_id):
            assert of(reply) == alone(request, "pages")


@cache
def warm_load(temperature: float, agents: int) -> tuple[Request, ...]:
    sampling = Sampling(max_new_tokens=30, temperature=temperature, top_k=40, top_p=0.95)
    return tuple(
        Request(f"{agent}/{task}/0/0", 1000 * task + agent, sampling, text=PROMPTS[task])
        for task in range(len(PROMPTS))
        for agent in range(agents)
    )


def nodes(ids: dict[str, Ids]) -> int:
    """The distinct token histories of all tasks."""
    return len({(job.split("/")[1], tokens[:end]) for job, tokens in ids.items() for end in range(1, len(tokens) + 1)})


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("decoder", ["pages", "slots", "one by one"])
def test_a_token_history_is_computed_once(decoder: str, temperature: float) -> None:
    """As many tokens are computed as the tree of the replies has nodes; none more while rows are free."""
    one = made(decoder, 60, share=True)
    with letters(TOKENIZER):
        replies = answer(one, warm_load(temperature, 12))
    ids = {job: ids_of(reply) for job, reply in replies.items()}
    assert one.progress().computed_tokens == nodes(ids)
    assert sum(reply.computed_tokens or 0 for reply in replies.values()) == nodes(ids)
    assert one.progress().output_tokens == sum(map(len, ids.values()))


@pytest.mark.slow
def test_with_few_rows_little_is_computed_again() -> None:
    one = made("pages", 5, share=True)
    with letters(TOKENIZER):
        replies = answer(one, warm_load(0.3, 12))
    ids = {job: ids_of(reply) for job, reply in replies.items()}
    assert nodes(ids) <= (one.progress().computed_tokens or 0) <= sum(map(len, ids.values()))


def test_without_sharing_every_delivered_token_is_computed() -> None:
    one = made("pages", 8, share=False)
    replies = answer(one, warm_load(0.05, 6))
    delivered = sum(reply.output_tokens for reply in replies.values())
    assert one.progress().computed_tokens == one.progress().output_tokens == delivered
    assert all(reply.computed_tokens == reply.output_tokens for reply in replies.values())


def test_a_later_request_follows_the_known_answer_without_a_forward() -> None:
    model, passes = tiny_model.model(), list[int]()
    one = engine(4, model)
    request = Request("0/t/0/0", 1, GREEDY, text=PROMPTS[0])
    first = answer(one, [request])["0/t/0/0"]
    model.register_forward_hook(lambda *_: passes.append(1))
    again = answer(one, [Request("1/t/0/0", 2, GREEDY, text=PROMPTS[0])])["1/t/0/0"]
    assert (again.text, again.computed_tokens, passes) == (first.text, 0, [])
    one.forget_answers()
    answer(one, [request])
    assert passes


def test_a_request_that_may_not_share_is_computed_anew() -> None:
    one = engine(4)
    request = Request("0/t/0/0", 1, GREEDY, text=PROMPTS[0])
    first = answer(one, [request])["0/t/0/0"]
    assert answer(one, [replace(request, share=False)])["0/t/0/0"].computed_tokens == first.output_tokens


def test_equal_requests_use_one_row_and_different_ones_use_many() -> None:
    one = made("pages", 8, share=True)
    for number in range(8):
        one.submit(Request(f"{number}/t/0/0", number, GREEDY, text=PROMPTS[0]))
    one.step()
    assert (one.progress().rows_in_use, one.progress().waiting) == (1, 0)
    finish(one)
    hot = Sampling(max_new_tokens=8, temperature=50.0)
    for number in range(8):
        one.submit(Request(f"{number}/t/0/0", number, hot, text=PROMPTS[1]))
    one.step()
    assert one.progress().rows_in_use == 8


def test_members_without_a_row_wait_and_are_counted_as_waiting() -> None:
    one = made("pages", 2, share=True)
    hot = Sampling(max_new_tokens=8, temperature=50.0)
    for number in range(6):
        one.submit(Request(f"{number}/t/0/0", number, hot, text=PROMPTS[1]))
    one.step()
    progress = one.progress()
    assert (progress.rows_in_use, progress.waiting) == (2, 4)
    assert len(finish(one)) == 6


def test_an_answer_is_streamed_once_though_its_branch_waits_for_memory() -> None:
    wanted = [Request(f"{n}/t/0/0", n, Sampling(20, temperature=1.0), text=PROMPTS[0], stream=True) for n in range(6)]
    one = made("pages", 4, share=True)
    real, calls = one.rows.decoder.decode, 0

    def decode(tokens: Sequence[int]) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise torch.OutOfMemoryError("made up")
        return real(tokens)

    one.rows.decoder.decode = decode  # type: ignore[method-assign]
    told, replies = streamed(one, wanted)
    assert calls > 6
    assert all(replies[job].startswith(text) and text for job, text in told.items())
    assert replies == {request.job_id: alone(request, "pages")[0] for request in wanted}


@pytest.mark.slow
def test_equal_beam_searches_are_one() -> None:
    one = engine(2)
    beams = Sampling(max_new_tokens=12, do_sample=False, num_beams=3)
    replies = answer(one, [Request(f"{n}/t/0/0", n, beams, text=PROMPTS[0]) for n in range(3)])
    assert len({reply.text for reply in replies.values()}) == 1
    assert [reply.computed_tokens for reply in replies.values()].count(0) == 2


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["pages", "slots", "slots, prompts shared", "one by one"])
@settings(deadline=None, max_examples=10, phases=[Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 10_000))
@torch.inference_mode()
def test_a_fork_and_a_row_that_joins_midway_continue_as_the_original(decoder: str, seed: int) -> None:
    """Forks cut at any length; rows that join with a part of their answer; all agree with plain decoding."""
    chance = random.Random(seed)
    one, plain = DECODERS[decoder](MODEL, 8), SeparateDecoder(MODEL)
    prompt = tuple(range(3, 3 + chance.choice([4, 16, 40])))
    history = [chance.randrange(3, 288) for _ in range(chance.randrange(1, 40))]
    one.join(prompt, 80)
    one.prefill()
    for token in history:
        one.decode([token])
    kept = chance.randint(0, len(history))
    cut = len(history) if decoder == "one by one" else kept
    assert one.fork(0, len(prompt) + cut, 80)
    one.join(prompt, 80, history[:kept])
    joined = one.prefill()[0]
    plain.join(prompt, 80, history[:kept])
    assert torch.allclose(joined, plain.prefill()[0], rtol=1e-3, atol=1e-4)
    for rest in (history, history[:cut]):
        plain.join(prompt, 80, rest)
    plain.prefill()
    order = [1, 2, 0]  # of the rows of `plain`: original, fork, joined
    for _ in range(20):
        tokens = [chance.randrange(3, 288) for _ in range(3)]
        expected = plain.decode([tokens[order.index(row)] for row in range(3)])[order]
        assert torch.allclose(one.decode(tokens), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["pages", "slots"])
def test_a_row_that_ends_is_inherited_by_a_branch_that_begins_like_it(decoder: str) -> None:
    """Half of the branches wait for a row, and hardly a token is computed again."""
    warm = Sampling(max_new_tokens=24, temperature=0.3)
    one = made(decoder, 12, share=True)
    wanted = [Request(f"{n}/t/0/0", n, warm, text=PROMPTS[0]) for n in range(24)]
    with letters(TOKENIZER):
        replies = answer(one, wanted)
    ids = {job: ids_of(reply) for job, reply in replies.items()}
    assert nodes(ids) <= (one.progress().computed_tokens or 0) <= 1.02 * nodes(ids)
