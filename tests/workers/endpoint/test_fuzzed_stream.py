"""Streams of a server: any bytes give answers that can be saved, or an error that blames the server."""

import json
import random
from typing import Any

import pytest

from swarmeval.workers.endpoint.faults import ServerFault, ServerRefused
from swarmeval.workers.endpoint.stream import StreamReader
from tests.support.fuzzing import BRIEF_S, BUDGET_S, fuzz

ANSWER = "Grüße 😀\n```python\ndef add(x, y):\n    return x + y\n```\n"
USAGE = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}}


def event(delta: object, reason: object = None, **more: object) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more}


def stream(*events: object, end: str = "\n\n", done: bool = True) -> bytes:
    texts = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in events]
    return "".join(f"data: {text}{end}" for text in (*texts, *(["[DONE]"] if done else []))).encode(errors="replace")


PIECES = [event({"content": ANSWER[n : n + 5]}) for n in range(0, len(ANSWER), 5)]
WHOLE = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}],
    **USAGE,
}
CORPUS = [
    stream(event({"role": "assistant", "content": ""}), *PIECES, event({}, "stop"), USAGE),
    stream(*PIECES, event({}, "length"), end="\r\n\r\n", done=False),
    stream(*PIECES, {**event({"content": ""}, "stop"), "usage": None}, end="\r\r"),
    stream(*(json.dumps(one, indent=1).replace("\n", "\ndata: ") for one in PIECES), event({}, "end_turn")),
    stream(*PIECES[:3], {"error": {"message": "EngineCore died", "type": "InternalServerError", "code": 500}}),
    stream(*PIECES[:3], {"error": {"message": "too long", "code": "context_length_exceeded"}}),
    stream(event({"content": [{"type": "text", "text": ANSWER}]}), event(None, "stop")),
    stream(event({"reasoning_content": "hm"}), event({"tool_calls": [{"index": 0}]}, "tool_calls")),
    stream({"choices": [{"index": 1, "text": ANSWER, "finish_reason": None}]}, {"choices": [{"text": "",
    "finish_reason": ""}]}),
    b": keep-alive\n\nevent: ping\ndata: {}\n\nid: 1\nretry: 9\n\n" + stream(*PIECES, event({}, "STOP")),
    b"\xef\xbb\xbf" + stream(event({"content": "\\ud83d"}), event({}, "eos")).replace(b"\\\\", b"\\"),
    json.dumps(WHOLE).encode(), b'{"error": {"message": "model overloaded", "code": 503}}', b'{"detail": "no"}', b"",
]  # fmt: skip
WORDS = [
    b"data: ", b"data:", b"event: error\n", b"\n", b"\n\n", b"\r", b"\r\n", b"[DONE]", b"data: [DONE]\n\n", b"{",
    b"}", b"[", b"]",
    b'"', b"\\ud800", b"\xff", b"\xf0\x9f", b"null", b"NaN", b"1e999", b"-1", b"9" * 400, b"7.5", b'"index": 1',
    b'"index": -1',
    b'"index": 1e9', b'"content": ', b'"finish_reason": "stop"', b'"finish_reason": 7',
    b'"usage": {"completion_tokens": -5}',
    b'"usage": {"prompt_tokens": 1e308}', b'"error": {}', b'"error": ["x"]', b'"choices": null', b"[" * 4000,
    b"\x85", b"\x0b",
    b"\nclass ", b": ", b"\x00",
]  # fmt: skip


def check(data: bytes) -> None:
    pieces = random.Random(len(data))
    reader = StreamReader(1 + len(data) % 2, ("\nclass ", "\nif"))
    try:
        at = 0
        while at < len(data) and not reader.done:
            size = pieces.choice((1, 3, 40, 1000, 10**6))
            reader.feed(data[at : at + size], float(at))
            at += size
        reader.end(float(at))
    except (ServerFault, ServerRefused):
        return
    reader.count()
    for answer in reader.answers:
        text, _, note = answer.final_texts(None)
        assert json.loads(json.dumps([text, note, answer.finish]).encode()) == [text, note, answer.finish]
        assert text.encode().decode() == text
        assert answer.tokens is None or answer.tokens >= 0


def test_any_stream_ends_in_answers_or_a_fault_briefly() -> None:
    fuzz(check, CORPUS, WORDS, BRIEF_S)


@pytest.mark.slow
@pytest.mark.timeout(2 * BUDGET_S + 300)
def test_any_stream_ends_in_answers_or_a_fault() -> None:
    fuzz(check, CORPUS, WORDS, BUDGET_S)
