"""Unusual responses of servers: other types, other words, errors with status 200, broken text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.workers.endpoint.endings import broke_off, ending
from swarmeval.workers.endpoint.faults import ServerFault, ServerRefused, error_of
from swarmeval.workers.endpoint.stream import StreamReader
from tests.support.event_streams import event, streamed

KEY = "sk-proj-" + "A1b2C3d4E5" * 10
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def hidden(text: str) -> str:
    return text.replace(KEY, "***")


# Errors in a response of status 200.


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"error": {"message": "no", "type": "BadRequest", "code": 400}}, 400),
        ({"error": {"message": "no", "code": "400"}}, 400),
        ({"error": {"message": "no", "type": "invalid_request_error", "code": "context_length_exceeded"}}, 400),
        ({"error": {"message": "no"}}, 400),
        ({"error": "no"}, 400),
        ({"error": {"message": "no", "code": 404}}, 400),
        ({"error": {"message": "no", "code": 401}}, 401),
        ({"object": "error", "message": "no", "code": 413}, 413),
        ({"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}, 400),
        ({"detail": "no"}, 400),
        ({"choices": [{"index": 0, "delta": {}, "error": {"code": 422, "message": "no"}}]}, 422),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
def test_an_error_within_a_stream_refuses_the_request_in_the_servers_words(
    error: dict[str, Any], status: int, begun: bool
) -> None:
    with pytest.raises(ServerRefused, match=r"^no$") as caught:
        streamed(*[event("x")] * begun, error)
    assert caught.value.status == status


def test_an_error_instead_of_an_answer_is_final_but_not_within_one() -> None:
    overloaded = {"error": {"message": "model overloaded", "code": 503}}
    with pytest.raises(ServerRefused, match=r"^model overloaded$"):
        streamed(overloaded)
    with pytest.raises(ServerFault, match=r"^aborted: model overloaded$"):
        streamed(event("x"), overloaded)


@pytest.mark.parametrize(
    "error",
    [{"message": "slow down", "code": 429}, {"message": "slow down", "type": "rate_limit_exceeded"}],
)
def test_a_server_that_asks_for_a_pause_gets_it(error: dict[str, Any]) -> None:
    with pytest.raises(ServerFault, match=r"^aborted: slow down$"):
        streamed({"error": error})


def test_an_event_named_error_is_an_error_whatever_it_contains() -> None:
    reader = StreamReader(1, ())
    with pytest.raises(ServerRefused, match=r"^gone$"):
        reader.feed(b'event: error\ndata: {"message": "gone"}\n\n', 1.0)


@pytest.mark.parametrize("error", [None, "", {}, [], False, {"message": None, "code": None}])
def test_an_empty_error_field_is_not_an_error(error: Any) -> None:
    assert streamed(event("x", error=error), event("", "stop", error=error)).answers[0].text == "x"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "model overloaded", "code": 503}}, "model overloaded"),
        ({"detail": "Internal failure"}, "Internal failure"),
        ({"message": "no such route"}, "no such route"),
        ([{"error": {"message": "in a list"}}], "in a list"),
    ],
)
def test_a_body_that_is_only_an_error_refuses_the_request(body: Any, words: str) -> None:
    reader = StreamReader(1, ())
    reader.feed(json.dumps(body).encode(), 1.0)
    with pytest.raises(ServerRefused, match=rf"^{words}$"):
        reader.end(1.0)


@pytest.mark.parametrize("words", [b"data: upstream timed out\n\n", b"upstream timed out"])
def test_text_outside_events_explains_why_a_stream_ended(words: bytes) -> None:
    reader = StreamReader(1, ())
    reader.feed(b"data: " + json.dumps(event("x")).encode() + b"\n\n" + words, 1.0)
    with pytest.raises(ServerFault, match=r"^the stream ended in the middle of an answer: upstream timed out$"):
        reader.end(1.0)


# Ends of answers.


@pytest.mark.parametrize(
    ("said", "meant"),
    [("eos", "stop"), ("STOP", "stop"), ("end_turn", "stop"), ("FINISH_REASON_STOP", "stop"), ("max_tokens", "length"),
     ("MAX_TOKENS", "length"), ("model_length", "length"), ("SAFETY", "content_filter"), ("tool_use", "tool_calls"),
     ({"type": "length", "length": 64}, "length"), ("repetition", "repetition"), (3, "3"), (" a\x1b[31m ", "a [31m")],
)  # fmt: skip
def test_a_finish_reason_is_mapped_if_known_and_kept_if_not(said: Any, meant: str) -> None:
    assert streamed(event("x"), event("", said)).answers[0].finish == meant


@pytest.mark.parametrize("word", ["abort", "ABORTED", "cancelled", "error", "insufficient_system_resource"])
def test_some_finish_reasons_mean_an_aborted_answer(word: str) -> None:
    assert broke_off(streamed(event("x"), event("", word)).answers[0].finish)
    assert not broke_off("stop")
    assert not broke_off(None)


def test_an_empty_finish_reason_counts_only_at_the_end_of_the_stream() -> None:
    usual = streamed(event("x", ""), event("y", ""), event("", "length")).answers[0]
    assert (usual.text, usual.finish) == ("xy", "length")
    never = streamed(event("x", ""), event("", "")).answers[0]
    assert (never.text, never.finish) == ("x", "")
    with pytest.raises(ServerFault, match=r"^the stream ended in the middle of an answer$"):
        streamed(event("x", ""), done=False)
    with pytest.raises(ServerFault, match=r"^the stream ended in the middle of an answer$"):
        streamed(event("x", ""), event("y", None))


@given(pieces=st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=6), at=st.integers(0, 6))
def test_text_after_a_finish_reason_is_kept(pieces: list[str], at: int) -> None:
    events = [event(piece, "stop" if place >= at else None) for place, piece in enumerate(pieces)]
    answer = streamed(*events, event("", "length")).answers[0]
    assert answer.text == "".join(pieces)
    assert answer.finish in ("length", "stop")


def test_text_after_a_finish_reason_is_complete_with_the_stream() -> None:
    assert streamed(event("x", "stop"), event("y")).answers[0].text == "xy"
    for last in (event("y"), event("y", "stop")):
        reader = StreamReader(1, ())
        with pytest.raises(ServerFault, match=r"^the stream ended in the middle of an answer$"):
            streamed(event("x", "stop"), last, done=False, reader=reader)
        assert reader.answers[0].finish is None


def test_a_final_event_that_repeats_the_answer_does_not_double_it() -> None:
    last = {"choices": [{"index": 0, "message": {"content": "xy, z"}, "finish_reason": "stop"}]}
    assert streamed(event("x"), event("y"), last).answers[0].text == "xy, z"


# Types.


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}], "a"),
        (["a", "b"], "ab"),
        ([{"type": "output_text", "text": {"value": "a"}}, None], "a"),
        ([{"text": "hm", "thought": True}, {"text": "a"}], "a"),
        ({"type": "text", "text": "a"}, "a"),
        (7, "7"),
        ([], ""),
    ],
)
def test_content_may_be_parts(content: Any, text: str) -> None:
    answer = streamed(event(content), event("", "stop")).answers[0]
    assert answer.text == text
    whole = StreamReader(1, ())
    body = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    whole.feed(json.dumps(body).encode(), 1.0)
    whole.end(1.0)
    assert whole.answers[0].text == text


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 5.0, "completion_tokens": 7.0}, (5, 7)),
        ({"prompt_tokens": "5", "completion_tokens": "7"}, (5, 7)),
        ({"prompt_tokens": float("nan"), "completion_tokens": float("inf")}, (None, 2)),
        ({"prompt_tokens": 5.5, "completion_tokens": -7}, (None, 2)),
        ({"prompt_tokens": 10**12, "completion_tokens": 10**400}, (None, 2)),
        ({"prompt_tokens": True, "completion_tokens": [7]}, (None, 2)),
        ({"prompt_tokens": 5, "completion_tokens": 0}, (5, 2)),
        ([5, 7], (None, 2)),
        ("twelve", (None, 2)),
    ],
)
def test_counts_are_read_in_any_form_and_ignored_if_implausible(usage: Any, counts: tuple[int | None, int]) -> None:
    reader = streamed(event("x"), event("y"), event("", "stop"), {"choices": [], "usage": usage})
    answer = reader.answers[0]
    assert (reader.prompt_tokens, answer.pieces if answer.tokens is None else answer.tokens) == counts


@pytest.mark.parametrize("index", [None, "0", 0.0, "first"])
def test_an_index_may_be_of_any_type(index: Any) -> None:
    choice = {"index": index, "delta": {"content": "x"}, "finish_reason": "stop"}
    assert streamed({"choices": [choice, None]}).answers[0].text == "x"


@given(choice=JSON, usage=JSON, error=JSON, reason=JSON)
def test_json_of_any_type_raises_only_known_errors(choice: Any, usage: Any, error: Any, reason: Any) -> None:
    told = {"choices": [choice, {"index": usage, "delta": error, "finish_reason": reason}], "usage": usage}
    for events in ([told], [event("x"), {**told, "error": error}], [{"choices": choice, "error": error}]):
        try:
            reader = streamed(*events)
        except (ServerFault, ServerRefused):
            continue
        reader.answers[0].final_texts(None)[0].encode()


# Streams with different framing.


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n"])
@pytest.mark.parametrize(
    "opening", [b"", b"\xef\xbb\xbf", b": ping\n\n", b"data: ping\n\n", b"event: ping\ndata: {}\n\n"]
)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_stream_may_be_framed_as_servers_do(end: bytes, opening: bytes, step: int) -> None:
    pretty = b"\ndata: ".join(json.dumps(event("x"), indent=1).encode().splitlines())
    events = [json.dumps(event("a")).encode(), pretty, json.dumps(event("", "stop")).encode(), b"[DONE]"]
    if end == b"\n":  # without blank lines each line is an event
        events.pop(1)
    data = opening + b"".join(b"data:" + one.replace(b"\n", end[: len(end) // 2]) + end for one in events)
    reader = StreamReader(1, ())
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step], 1.0)
    reader.end(1.0)
    assert reader.answers[0].text == ("a" if end == b"\n" else "ax")


def test_a_body_that_is_not_a_stream_is_read_whatever_its_type() -> None:
    reader = StreamReader(1, ())
    for part in (b'\n{"choices": [{"message": {"con', b'tent": "x"}, "finish_reason": "stop"}]}'):
        reader.feed(part, 1.0)
    reader.end(1.0)
    assert reader.answers[0].text == "x"


# Invalid text.


@pytest.mark.parametrize(
    ("pieces", "text", "note"),
    [
        ([b'"a \\ud83d"', b'"\\ude00 b"'], "a \U0001f600 b", ""),
        ([b'"a \\ud83d"', b'" b"'], "a \ufffd b", "1 lone surrogate became U+FFFD"),
        ([b'"\\ude00\\ud83d"'], "\ufffd\ufffd", "2 lone surrogates became U+FFFD"),
        ([b'"caf\xe9"'], "caf\ufffd", "1 lone surrogate became U+FFFD"),
    ],
)
def test_lone_surrogates_become_the_replacement_character_with_a_note(
    pieces: list[bytes], text: str, note: str
) -> None:
    told = [b'{"choices": [{"index": 0, "delta": {"content": ' + piece + b"}}]}" for piece in pieces]
    assert streamed(*told, event("", "stop")).answers[0].final_texts(None) == (text, "", note)


# Secrets.


@given(before=st.integers(0, 320), code=st.sampled_from([400, 503]))
def test_a_key_is_hidden_before_a_message_is_truncated(before: int, code: int) -> None:
    said = json.dumps({"error": {"message": "x" * before + " " + KEY}}).encode()
    plain = b"y" * before + KEY.encode()
    for body in (said, plain):
        assert KEY[:12] not in str(error_of(code, {}, body, hidden))
    with pytest.raises(ServerRefused) as caught:
        streamed(said, reader=StreamReader(1, (), hidden))
    assert KEY[:12] not in str(caught.value)


def test_a_key_is_hidden_in_a_finish_reason() -> None:
    assert ending("x" * 30 + KEY, hidden) == "x" * 30 + "***"
    answer = streamed(event("x"), event("", KEY), reader=StreamReader(1, (), hidden)).answers[0]
    assert answer.finish == "***"
