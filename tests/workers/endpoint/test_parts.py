"""The parts of an endpoint worker that need no server: request bodies, responses, backoff, errors."""

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from swarmeval.errors import ConfigError
from swarmeval.requests import Request, Sampling
from swarmeval.runs.prompts import STOPS
from swarmeval.workers.endpoint.backoff import Backoff
from swarmeval.workers.endpoint.body import Dialect, RequestFormat, body
from swarmeval.workers.endpoint.client import key_from
from swarmeval.workers.endpoint.faults import ServerFault, ServerRefused, error_of, error_text, retry_after_s
from swarmeval.workers.endpoint.stream import StreamReader
from tests.support.fleet_contract import requests

USUAL = Sampling(99, temperature=0.25, top_p=0.9, top_k=40, repetition_penalty=1.1, stop=STOPS)
DIALECTS: dict[Dialect, dict[str, Any]] = {
    "vllm": {"max_tokens": 99, "top_k": 40, "min_p": 0.0, "repetition_penalty": 1.1, "stop": list(STOPS[:4])},
    "llama.cpp": {"max_tokens": 99, "top_k": 40, "repeat_penalty": 1.1, "repeat_last_n": -1, "min_p": 0.0,
                  "stop": list(STOPS[:4])},
    "openai": {"max_tokens": 99, "stop": list(STOPS[:4])},
    "plain": {"max_tokens": 99, "stop": list(STOPS[:4])},
}  # fmt: skip


@pytest.mark.parametrize(("dialect", "own"), DIALECTS.items())
def test_each_dialect_has_its_fields(dialect: Dialect, own: dict[str, Any]) -> None:
    asked = Request("j", 2**63 + 5, USUAL, text="def f():")
    counted = {"continuous_usage_stats": True} if dialect == "vllm" else {}
    assert body(RequestFormat("m", dialect, {}), [asked]) == {
        "model": "m", "prompt": "def f():", "temperature": 0.25, "top_p": 0.9, "seed": 5, "stream": True,
        "stream_options": {"include_usage": True, **counted}, **own,
    }  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_penalties_and_bias_are_sent_if_they_are_set(dialect: Dialect) -> None:
    rare = replace(USUAL, presence_penalty=0.5, frequency_penalty=-1.0, logit_bias=((7, -100.0),))
    sent = body(RequestFormat("m", dialect, {}), [Request("j", 0, rare, text="def f():")])
    assert (sent["presence_penalty"], sent["frequency_penalty"], sent["logit_bias"]) == (0.5, -1.0, {"7": -100.0})


def test_a_gap_is_sent_as_prompt_and_suffix_even_if_nothing_follows_it() -> None:
    gaps = [Request("j", 1, USUAL, text="def f():", suffix=suffix) for suffix in ("return x", "")]
    made = [body(RequestFormat("m", "plain", {}), [gap]) for gap in gaps]
    assert [(fields["prompt"], fields["suffix"]) for fields in made] == [("def f():", "return x"), ("def f():", "")]


def test_openais_chat_has_its_own_name_for_max_tokens() -> None:
    made = body(RequestFormat("m", "openai", {}), requests(1))
    assert (made["max_completion_tokens"], "max_tokens" in made) == (8, False)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_greedy_decoding_is_a_temperature_of_zero(dialect: Dialect) -> None:
    greedy = Sampling(9, do_sample=False, temperature=0.25, top_p=0.9, top_k=40)
    made = body(RequestFormat("m", dialect, {}), [Request("j", 1, greedy, text="x")])
    assert (made["temperature"], "top_p" in made, "top_k" in made) == (0.0, False, False)


def event(text: str, index: int = 0, reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": reason}]}


@given(
    texts=st.lists(st.lists(st.text(max_size=9), min_size=1, max_size=5), min_size=1, max_size=3),
    cuts=st.lists(st.integers(1, 40), max_size=30),
    end=st.sampled_from(["\n\n", "\r\n\r\n"]),
)
def test_a_stream_reads_the_same_however_it_is_cut(texts: list[list[str]], cuts: list[int], end: str) -> None:
    told = [event(piece, number) for number, pieces in enumerate(texts) for piece in pieces]
    told += [event("", number, "stop") for number in range(len(texts))]
    told += [{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 60}}]
    stream = "".join(f"data: {json.dumps(each, ensure_ascii=False)}{end}" for each in told) + f"data: [DONE]{end}"
    data, reader = stream.encode(), StreamReader(len(texts), ())
    for cut in cuts:
        reader.feed(data[:cut], 1.0)
        data = data[cut:]
    reader.feed(data, 2.0)
    reader.end(3.0)
    reader.count()
    assert [answer.text for answer in reader.answers] == ["".join(pieces) for pieces in texts]
    assert sum(answer.tokens or 0 for answer in reader.answers) == 60
    assert reader.done


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_server_fault(data: bytes) -> None:
    reader = StreamReader(1, ())
    try:
        reader.feed(b"data: " + data + b"\n", 1.0)
        reader.end(1.0)
    except (ServerFault, ServerRefused):
        pass
    else:
        assert reader.answers[0].finish is not None
    error_text(data)


def test_a_stop_string_is_found_across_pieces_and_nothing_of_it_is_kept() -> None:
    reader = StreamReader(1, ("\nclass ", "\nif"))
    for piece in ("a", "\ncl", "ass", " B"):
        reader.feed(b"data: " + json.dumps(event(piece)).encode() + b"\n\n", 1.0)
    assert (reader.answers[0].text, reader.answers[0].finish, reader.done) == ("a", "stop", True)


def test_reasoning_counts_for_ttft_but_is_not_part_of_the_answer() -> None:
    reader = StreamReader(1, ())
    thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}
    for now, told in enumerate((thought, event("x = 1"), event("", 0, "stop")), 1):
        reader.feed(b"data: " + json.dumps(told).encode() + b"\n\n", float(now))
    reader.end(4.0)
    answer = reader.answers[0]
    assert (answer.text, answer.first_at, answer.last_at, answer.pieces) == ("x = 1", 1.0, 2.0, 2)


def test_token_counts_of_each_answer_are_used_if_reported() -> None:
    reader = StreamReader(2, ())
    for number, tokens in ((0, 7), (1, 3)):
        told = {**event("x", number, "stop"), "usage": {"prompt_tokens": 5, "completion_tokens": tokens}}
        reader.feed(b"data: " + json.dumps(told).encode() + b"\n\n", 1.0)
    reader.feed(b'data: {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 10}}\n\n', 1.0)
    reader.count()
    assert [answer.tokens for answer in reader.answers] == [7, 3]
    assert reader.prompt_tokens == 5


# Waiting.


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_pauses_grow_until_an_answer_resets_them() -> None:
    clock = Clock()
    backoff = Backoff(1e9, (0.5, 30.0), clock, chance=lambda: 1.0)
    pauses = []
    for _ in range(8):
        backoff.record_trouble(pause=True)
        backoff.record_trouble(pause=True)  # the same trouble, reported by another request
        pauses.append(backoff.left_s())
        clock.now += backoff.left_s()
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    backoff.record_answer()
    backoff.record_trouble(pause=True)
    assert backoff.left_s() == 0.5


def test_a_server_is_given_up_if_it_fails_for_too_long() -> None:
    clock = Clock()
    backoff = Backoff(10.0, (0.5, 1.0), clock, chance=lambda: 1.0)
    assert backoff.record_trouble(pause=False)
    clock.now += 9.0
    assert backoff.record_trouble(pause=False)
    backoff.record_answer()
    clock.now += 9.0
    assert backoff.record_trouble(pause=False)
    assert not backoff.record_trouble(pause=False, retry_after_s=11.0)
    backoff.record_busy(None)
    clock.now += 11.0
    assert not backoff.record_trouble(pause=False)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "Retry-After": "1"}, 0.25),
        ({"Retry-After": format_datetime(datetime.fromtimestamp(1030, UTC), usegmt=True)}, 30.0),
        ({"Retry-After": format_datetime(datetime.fromtimestamp(900, UTC), usegmt=True)}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"retry-after-ms": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, now=1000.0) == seconds


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "bad", "code": 3}}', "bad"),
        (b'{"error": "bad"}', "bad"),
        (b'{"object": "error", "message": "bad"}', "bad"),
        (b'{"detail": [{"loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}]}',
         "Extra inputs are not permitted (top_k)"),
        (b"<html>\n<h1>Bad\x07</h1>", "<html> <h1>Bad </h1>"),
        (b"", "no reason given"),
        (b"x" * 999, "x" * 297 + "..."),
    ],
)  # fmt: skip
def test_a_servers_message_becomes_one_line(body: bytes, words: str) -> None:
    assert error_text(body) == words


@pytest.mark.parametrize(("status", "kind"), [(500, "cut"), (502, "cut"), (429, "busy"), (529, "busy"), (408, "cut")])
def test_errors_that_a_retry_may_fix_are_faults(status: int, kind: str) -> None:
    found = error_of(status, {}, b"")
    assert isinstance(found, ServerFault)
    assert found.kind == kind


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 501])
def test_errors_that_no_retry_fixes_are_refusals(status: int) -> None:
    assert isinstance(error_of(status, {}, b""), ServerRefused)


def test_a_key_comes_from_its_variable_which_must_be_set_if_named() -> None:
    assert key_from("A_KEY", {"A_KEY": " k\n"}, required=True).value == "k"
    assert key_from("A_KEY", {}, required=False).value == ""
    with pytest.raises(ConfigError, match=r"^endpoint\.key_env is 'A_KEY' but this environment variable is not set"):
        key_from("A_KEY", {}, required=True)
    with pytest.raises(ConfigError, match=r"^A_KEY: contains characters that cannot occur in a key; set it again$"):
        key_from("A_KEY", {"A_KEY": "k\r\nX: y"}, required=False)


def test_an_adapter_is_asked_for_as_a_model() -> None:
    served = RequestFormat("m", "vllm", {}, adapters={"code": "code-lora"})
    asked = [Request("j", 1, USUAL, text="x", adapter=name) for name in ("", "code")]
    assert [body(served, [one])["model"] for one in asked] == ["m", "code-lora"]
