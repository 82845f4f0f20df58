"""The API that serves a fleet, called by the real `openai` client and by misbehaving clients."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from swarmeval.requests import Answer, Message, Reply, Request, Sampling
from swarmeval.settings.serve import ServeSettings
from swarmeval.workers.endpoint.fleet import EndpointFleet
from swarmeval.workers.replica_spec import Script, ScriptedFault
from tests.support.endpoint_worker import endpoint_options
from tests.support.scripted_server import Served, serving

pytestmark = pytest.mark.slow

CHAT = [{"role": "user", "content": "```python\ndef f():\n```"}]
SLOW = Script(rows=2, steps=400, step_s=0.01)


def client(served: Served, key: str = "any") -> openai.OpenAI:
    return served.clients.enter_context(openai.OpenAI(base_url=served.url, api_key=key, max_retries=0))


def ask(served: Served, **more: Any) -> Any:
    return client(served).chat.completions.create(**{"model": "tiny", "messages": CHAT, **more})


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Script(rows=4, steps=3)) as running:
        yield running


def test_the_openai_client_gets_chats_and_completions(served: Served) -> None:
    assert [model.id for model in client(served).models.list()] == ["tiny"]
    assert client(served).models.retrieve("tiny").id == "tiny"
    chat = ask(served, seed=3)
    assert chat.choices[0].message.content == "```python\ndef f():\n    return 3\n```"
    assert chat.choices[0].finish_reason == "stop"
    text = client(served).completions.create(model="tiny", prompt=["def f():", "def g():"], seed=3, n=2)
    assert [choice.index for choice in text.choices] == [0, 1, 2, 3]
    assert text.choices[0].text == "\n    return 3\n"
    assert text.usage is not None
    assert text.usage.total_tokens == text.usage.prompt_tokens + text.usage.completion_tokens


def test_a_suffix_makes_the_completion_fill_the_gap(served: Served) -> None:
    for suffix in ("    # end", ""):
        filled = client(served).completions.create(model="tiny", prompt="def f():\n", suffix=suffix, seed=3)
        assert filled.choices[0].text == "    return 3\n"


def test_a_stream_tells_what_the_whole_answer_says(served: Served) -> None:
    whole = ask(served, n=3, seed=5)
    told, reasons, usage = dict.fromkeys(range(3), ""), {}, None
    for chunk in ask(served, n=3, seed=5, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage
        for choice in chunk.choices:
            told[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason
    assert told == {choice.index: choice.message.content for choice in whole.choices}
    assert set(reasons.values()) == {"stop"}
    assert usage == whole.usage


def test_a_stream_reports_usage_so_far_with_each_chunk_on_request(served: Served) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    *chunks, end = ask(served, n=2, seed=5, stream=True, stream_options=options)
    prompt = {chunk.usage.prompt_tokens for chunk in (*chunks, end)}
    counts: dict[int, list[int]] = {0: [], 1: []}
    for chunk in chunks:
        counts[chunk.choices[0].index].append(chunk.usage.completion_tokens)
    assert prompt == {end.usage.prompt_tokens}
    assert [told[0] for told in counts.values()] == [0, 0]  # the chunk with the role only
    assert sum(told[-1] for told in counts.values()) == end.usage.completion_tokens
    for options in ({"continuous_usage_stats": True}, {"include_usage": True}):
        *chunks, _ = ask(served, stream=True, stream_options=options)
        assert {chunk.usage for chunk in chunks} == {None}


def test_an_endpoints_worker_asks_it_for_several_answers_by_one_request(served: Served) -> None:
    """Tokens are counted per answer, which requires the count so far in each chunk."""
    chat = (Message("user", CHAT[0]["content"]),)
    wanted = [Request(f"a/{number}", 5, Sampling(8), chat) for number in range(3)]

    async def answers() -> list[Answer]:
        async with EndpointFleet([served.url], endpoint_options(combine_samples=True)) as fleet:
            await fleet.workers[0].start()
            return [answer async for answer in fleet.workers[0].generate(wanted)]

    whole = ask(served, n=3, seed=5)
    found = [answer for answer in asyncio.run(answers()) if isinstance(answer, Reply)]
    assert [reply.text for reply in found] == [choice.message.content for choice in whole.choices]
    assert sum(reply.output_tokens for reply in found) == whole.usage.completion_tokens
    assert len({reply.output_tokens for reply in found}) == 3


def test_a_seed_repeats_its_answers_and_none_makes_them_differ(served: Served) -> None:
    def texts(**more: Any) -> list[str]:
        return [choice.message.content for choice in ask(served, n=16, **more).choices]

    assert texts(seed=1) == texts(seed=1)
    assert len(set(texts(seed=1))) > 1
    assert texts() != texts()


@pytest.mark.parametrize(
    ("more", "error", "status", "param", "message"),
    [
        ({"model": "other"}, openai.NotFoundError, 404, "model", "unknown model 'other'; this server has 'tiny'"),
        ({"temperature": -1}, openai.BadRequestError, 400, "temperature",
         "temperature: Input should be greater than or equal to 0"),
        ({"max_tokens": 65}, openai.BadRequestError, 400, "max_tokens",
         "max_tokens is 65; the limit of this server is 64 (max_new_tokens)"),
        ({"tools": []}, openai.BadRequestError, 400, "tools", "tools is not supported by this server"),
        ({"messages": []}, openai.BadRequestError, 400, "messages",
         "messages: List should have at least 1 item after validation, not 0"),
        ({"n": 129}, openai.BadRequestError, 400, "n", "n: Input should be less than or equal to 128"),
    ],
)  # fmt: skip
def test_what_cannot_be_obeyed_is_refused_by_name(served, more, error, status, param, message) -> None:  # type: ignore[no-untyped-def]
    for stream in (False, True):
        with pytest.raises(error) as caught:
            ask(served, **more, stream=stream)
        assert (caught.value.status_code, caught.value.body["param"]) == (status, param)
        assert caught.value.body["message"] == message


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/v1/chat/completions", b"{", 400, "the body is not valid JSON: Expecting property name "
         "enclosed in double quotes"),
        ("GET", "/v1/chat/completions", b"", 405, "GET /v1/chat/completions: Method Not Allowed"),
        ("GET", "/v2/models", b"", 404, "GET /v2/models: Not Found"),
    ],
)  # fmt: skip
def test_every_error_has_the_apis_form(served, method, path, body, status, message) -> None:  # type: ignore[no-untyped-def]
    answer = httpx2.request(method, served.root + path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["error"] == {
        "message": message, "type": "invalid_request_error", "param": None, "code": None
    }  # fmt: skip


def hang_up(served: Served, stream: bool) -> None:
    """Request a slow answer and hang up: a stream after its first event, a whole answer once it has a row."""
    body = json.dumps({"model": "tiny", "messages": CHAT, "stream": stream}).encode()
    host, port = served.root.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as sock:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
        sock.sendall(head.encode() + b"content-type: application/json\r\n\r\n" + body)
        if stream:
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        else:
            served.until(lambda: served.pool.in_flight > 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_frees_its_row(stream: bool) -> None:
    with serving(SLOW) as served:
        for _ in range(2):
            hang_up(served, stream)
        served.until(lambda: served.pool.in_flight == 0)
        served.until(lambda: served.pool.members[0].worker.progress.rows_in_use == 0)
        metrics = httpx2.get(served.root + "/metrics").text
        assert 'swarmeval_calls_total{path="/v1/chat/completions",status="499"} 2.0' in metrics


def test_a_full_queue_tells_clients_when_to_retry() -> None:
    with serving(SLOW, waiting=0) as served:
        stream = ask(served, n=2, stream=True)
        next(stream)
        with pytest.raises(openai.RateLimitError) as caught:
            ask(served)
        assert int(caught.value.response.headers["retry-after"]) >= 1
        stream.close()
        served.until(lambda: served.pool.in_flight == 0)
        assert ask(served, max_tokens=1)


def test_a_replica_that_dies_costs_no_answer_that_has_not_begun_to_show() -> None:
    with serving(Script(rows=4, steps=60, step_s=0.01), workers=2) as served:
        served.until(lambda: all(member.info for member in served.pool.members))
        stream = ask(served, stream=True)
        next(stream)
        victim = next(member.worker.pid for member in served.pool.members if member.jobs)
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(openai.APIError, match="the replica died while answering"):
            list(stream)
        assert ask(served).choices[0].message.content  # the other replica answers
        served.until(lambda: all(member.info for member in served.pool.members))
        assert sorted(member.supervisor.starts for member in served.pool.members) == [1, 2]


def test_a_whole_answer_is_made_again_by_another_replica() -> None:
    with serving(Script(rows=4, faults=(ScriptedFault("kill", after=0, device="cpu:0"),)), workers=2) as served:
        served.until(lambda: all(member.info for member in served.pool.members))
        assert ask(served).choices[0].message.content


def test_without_the_key_only_health_is_answered() -> None:
    with serving(Script(), key="secret-key") as served:
        for key in ("x", "secret-ke", "ключ"):
            answer = httpx2.get(served.url + "/models", headers={b"authorization": f"Bearer {key}".encode()})
            assert answer.status_code == 401
            assert answer.json()["error"]["type"] == "authentication_error"
            for path in ("/metrics", "/docs", "/redoc", "/openapi.json", "/v1/chat/completions", "/nothing"):
                assert (
                    httpx2.get(served.root + path, headers={b"authorization": f"Bearer {key}".encode()}).status_code
                    == 401
                )
        assert [model.id for model in client(served, "secret-key").models.list()] == ["tiny"]
        metrics = httpx2.get(served.root + "/metrics", headers={"authorization": "Bearer secret-key"})
        assert 'swarmeval_ready{device="cpu:0"} 1.0' in metrics.text
        assert httpx2.get(served.root + "/health").json() == {"status": "ok", "replicas": {"cpu:0": "ready"}}


PAGES = ("/docs", "/redoc", "/openapi.json")


def test_the_pages_about_the_api_are_there_only_if_they_are_wanted(served: Served) -> None:
    assert [httpx2.get(served.root + page).status_code for page in PAGES] == [404, 404, 404]
    with serving(Script(), key="secret-key", serve=ServeSettings(docs=True)) as other:
        shown = {"authorization": "Bearer secret-key"}
        assert [httpx2.get(other.root + page).status_code for page in PAGES] == [401, 401, 401]
        assert [httpx2.get(other.root + page, headers=shown).status_code for page in PAGES] == [200, 200, 200]
        schema = httpx2.get(other.root + "/openapi.json", headers=shown).json()
        assert "/v1/chat/completions" in schema["paths"]


def test_without_a_key_a_page_whose_name_was_rebound_gets_no_answer(served: Served) -> None:
    port = served.root.rpartition(":")[2]
    for host in (f"evil.example:{port}", f"localhost.evil.example:{port}"):
        answer = httpx2.post(
            f"{served.url}/chat/completions",
            json={"model": "tiny", "messages": CHAT},
            headers={"host": host, "origin": f"http://{host}"},
        )
        assert answer.status_code == 403
        assert answer.json()["error"]["message"] == (
            f"{host!r} is not a name of this server; without a key, use its IP address, localhost or a name in "
            "serve.hosts"
        )
    with serving(Script(), serve=ServeSettings(hosts=("models.lab",))) as other:
        assert httpx2.get(f"{other.url}/models", headers={"host": "models.lab:80"}).status_code == 200
        assert httpx2.get(f"{other.url}/models", headers={"host": "models"}).status_code == 403


def test_while_no_replica_is_ready_health_says_so_and_calls_may_come_again() -> None:
    with serving(Script(faults=(ScriptedFault("load_hang"),)), ready=False) as served:
        health = httpx2.get(served.root + "/health")
        assert (health.status_code, health.json()["status"]) == (503, "unready")
        with pytest.raises(openai.InternalServerError) as caught:
            ask(served)
        assert caught.value.status_code == 503
        assert caught.value.response.headers["retry-after"] == "5"


def test_each_adapter_is_served_as_a_model_of_its_own() -> None:
    with serving(Script(), adapters={"code": "adapters/code"}) as running:
        models = client(running).models.list().data
        assert [(model.id, model.model_dump().get("parent")) for model in models] == [("tiny", None), ("code", "tiny")]
        assert ask(running, model="code").model == "code"
        with pytest.raises(openai.NotFoundError) as caught:
            ask(running, model="cod")
        assert caught.value.body == {
            "message": "unknown model 'cod'; this server has 'tiny', 'code'",
            "type": "invalid_request_error", "param": "model", "code": "model_not_found",
        }  # fmt: skip
