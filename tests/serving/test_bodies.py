"""Bodies that cannot be obeyed or encoded: each gets 400 at once, and no replica dies."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import psutil
import pytest

from swarmeval.workers.replica_spec import Script
from tests.support.scripted_server import Served, serving

pytestmark = pytest.mark.slow

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
TEXT: dict[str, Any] = {"model": "tiny", "prompt": "x"}
HALF = "half \ud83d"
PART = {"type": "text", "text": HALF}
SILENCE_S = 0.6
BEYOND = (10**29, 2**64, -(2**63) - 1, 10**4000)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A server whose worker would soon be declared dead if it seemed to have work."""
    with serving(Script(rows=4), silence_s=SILENCE_S) as running:
        yield running


def answered(served: Served, path: str, body: bytes, kind: str = "application/json") -> tuple[int, dict[str, Any]]:
    head = {"content-type": kind} if kind else {}
    answer = httpx2.post(f"{served.url}/{path}", content=body, headers=head, timeout=10)
    return answer.status_code, answer.json().get("error", {})


def is_well(served: Served) -> bool:
    """Whether the first worker answers and was never restarted."""
    member = served.pool.members[0]
    return answered(served, "chat/completions", json.dumps(CHAT).encode())[0] == 200 and member.supervisor.starts == 1


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("chat/completions", {**CHAT, "messages": [{"role": "user", "content": HALF}]}, "messages.content"),
        ("chat/completions", {**CHAT, "messages": [{"role": "user", "content": [PART]}]}, "messages.content.text"),
        ("chat/completions", {**CHAT, "messages": [{"role": "user", "content": "x", "name": HALF}]}, "messages.name"),
        ("chat/completions", {**CHAT, "stop": HALF}, "stop"),
        ("chat/completions", {**CHAT, "stop": ["x", HALF]}, "stop"),
        ("chat/completions", {**CHAT, "user": HALF}, "user"),
        ("chat/completions", {**CHAT, "metadata": {"a": HALF}}, "metadata.a"),
        ("chat/completions", {**CHAT, "metadata": {HALF: "a"}}, None),
        ("chat/completions", {**CHAT, "logit_bias": {HALF: 0}}, None),
        ("chat/completions", {**CHAT, "model": HALF}, "model"),
        ("chat/completions", {**CHAT, HALF: 1}, None),
        ("completions", {**TEXT, "prompt": HALF}, "prompt"),
        ("completions", {**TEXT, "prompt": ["x", HALF]}, "prompt"),
        *[("chat/completions", {**CHAT, key: number}, key) for key in ("seed", "top_k") for number in BEYOND],
        *[("completions", {**TEXT, key: 10**29}, key) for key in ("seed", "top_k", "max_tokens", "n", "best_of")],
        ("chat/completions", {**CHAT, "top_k": 2**31}, "top_k"),
        ("chat/completions", {**CHAT, "max_completion_tokens": 10**29}, "max_completion_tokens"),
        ("chat/completions", {**CHAT, "max_tokens": 2**31}, "max_tokens"),
        *[("chat/completions", {**CHAT, key: number}, key) for number in (float("nan"), float("inf"), 10**400, 1e-320)
          for key in ("temperature", "repetition_penalty")],
        *[("chat/completions", {**CHAT, key: float("nan")}, key) for key in ("top_p", "top_k", "seed")],
        ("chat/completions", {**CHAT, "presence_penalty": float("nan")}, "presence_penalty"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_encoded_is_refused_at_once(
    served: Served, path: str, body: dict[str, Any], param: str | None, stream: bool
) -> None:
    status, error = answered(served, path, json.dumps({**body, "stream": stream}).encode())
    assert status == 400
    assert error["type"] == "invalid_request_error"
    if param is not None:
        assert error["param"] == param
    assert served.pool.in_flight == 0


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'"x"', b"1", b"{", b"\xff\xfe\x00", b'{"model": "\xff"}', b"[" * 500_000,
        b'{"a":' * 100_000, b'{"model": "tiny", "seed": ' + b"9" * 5000 + b"}",
        b'{"model":"tiny","messages":[{"role":"user","content":"\xed\xa0\x80"}]}',
        json.dumps(CHAT).replace("x", "\ud800").encode("utf-16", "surrogatepass"),
        b'{"model":"tiny","messages":[{"role":"user","content":"\\ud800"}],"messages":[]}',
    ],
)  # fmt: skip
def test_what_is_not_a_request_in_json_is_refused_at_once(served: Served, body: bytes) -> None:
    status, error = answered(served, "chat/completions", body)
    assert (status, error["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_body_that_is_not_declared_as_json_is_refused_in_one_line(served: Served, kind: str) -> None:
    """Foreign web pages can send such bodies."""
    status, error = answered(served, "chat/completions", json.dumps(CHAT).encode(), kind)
    found = f"the Content-Type is '{kind}'" if kind else "there is no Content-Type header"
    assert (status, error["param"]) == (400, None)
    assert error["message"] == f"{found}; send the body with `Content-Type: application/json`"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({**TEXT, "prompt": [1] * 2_500_000}, "prompt"),
        ({**TEXT, **{f"k{number}": 1 for number in range(500_000)}}, None),
        ({**TEXT, "logit_bias": {str(number): 1 for number in range(500_000)}}, "logit_bias"),
        ({**CHAT, "messages": [1] * 2_500_000}, "messages"),
        ({**CHAT, "messages": [{"role": "user", "content": [1] * 2_500_000}]}, "messages.content"),
    ],
)
def test_a_million_errors_are_one(served: Served, body: dict[str, Any], param: str | None) -> None:
    """A list of all of them would take gigabytes."""
    path = "completions" if "prompt" in body else "chat/completions"
    before = psutil.Process().memory_info().rss
    status, error = answered(served, path, json.dumps(body, separators=(",", ":")).encode())
    assert (status, error["param"]) == (400, param)
    assert psutil.Process().memory_info().rss - before < 400 << 20


def test_the_largest_numbers_that_fit_are_obeyed(served: Served) -> None:
    for more in ({"seed": 2**64 - 1}, {"seed": -(2**63)}, {"seed": 2**64 - 1, "n": 2}, {"top_k": 2**31 - 1},
                 {"temperature": 0.001}, {"temperature": 0}, {"stop": "\U0001f600"}):  # fmt: skip
        status, error = answered(served, "chat/completions", json.dumps({**CHAT, **more}).encode())
        assert (status, error) == (200, {})


def test_a_replica_outlives_what_it_never_got(served: Served) -> None:
    for body in ({**CHAT, "top_k": 10**29}, {**CHAT, "messages": [{"role": "user", "content": "\ud800"}]}):
        answered(served, "chat/completions", json.dumps(body).encode())
    served.do(lambda: asyncio.sleep(1.5 * SILENCE_S))  # a worker with work would have been killed
    assert served.pool.members[0].worker.running
    assert is_well(served)
