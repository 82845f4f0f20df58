"""Every call gets an answer, whatever fails behind it: an error in the API's format, or an error event."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import httpx2
import pytest

from swarmeval.errors import ConfigError
from swarmeval.requests import Answer, Piece, Refusal, Reply, Request, WorkerProgress
from swarmeval.serving.app import Api
from swarmeval.serving.pool import Pool
from swarmeval.settings.run_config import RunConfig
from tests.support.echo_fleet import EchoFleet, EchoWorker

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
INTERNAL = "internal error: the server failed to answer this request; see its log"


class FailingWorker(EchoWorker):
    """Yields `pieces` pieces of each answer, then raises or yields `end`."""

    def __init__(self, end: Exception | Answer | None, pieces: int = 0) -> None:
        super().__init__("cpu:0")
        self._end = end
        self._pieces = pieces

    async def stream(self, request: Request) -> AsyncGenerator[Piece | Answer, None]:
        for number in range(self._pieces):
            yield Piece(request.job_id, "x", number, 1)
        if isinstance(self._end, Exception):
            raise self._end
        if self._end is not None:
            yield self._end


def during(worker: EchoWorker, use: Callable[[httpx2.AsyncClient], Awaitable[None]]) -> None:
    """Run `use` with a client of a server over this worker."""

    async def go() -> None:
        async with Pool(EchoFleet([worker]), 10) as pool:
            await pool.until_ready()
            app = Api(pool, RunConfig(engine="scripted", device="cpu"), "tiny", None).app()
            transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
            async with (
                asyncio.timeout(10),
                httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client,
            ):
                await use(client)
            assert pool.in_flight == 0

    asyncio.run(go())


@pytest.mark.parametrize(
    ("end", "status", "message"),
    [
        (RuntimeError("nobody foresaw this"), 500, INTERNAL),
        (OverflowError("out of range"), 500, INTERNAL),
        (ConfigError("a wrong key at the endpoint"), 500, INTERNAL),
        (Refusal("x", "too long", retry=False), 400, "too long"),
        (Refusal("x", "aborted", retry=True), 503, "aborted"),
        (None, 503, "the server is shutting down"),
    ],
)
@pytest.mark.parametrize("pieces", [0, 1])
def test_a_worker_that_fails_in_any_way_leaves_no_call_unanswered(
    end: Exception | Answer | None, status: int, message: str, pieces: int
) -> None:
    async def whole(client: httpx2.AsyncClient) -> None:
        answer = await client.post("/v1/chat/completions", json={**CHAT, "n": 3})
        assert (answer.status_code, answer.json()["error"]["message"]) == (status, message)

    async def streamed(client: httpx2.AsyncClient) -> None:
        answer = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        assert answer.status_code == (200 if pieces else status)
        told: Any = json.loads(answer.text.split("data: ")[-1])
        assert told["error"]["message"] == message

    during(FailingWorker(end, pieces), whole)
    during(FailingWorker(end, pieces), streamed)


def test_a_reply_that_cannot_be_encoded_is_an_error_of_the_server() -> None:
    async def use(client: httpx2.AsyncClient) -> None:
        answer = await client.post("/v1/completions", json={"model": "tiny", "prompt": "x"})
        assert (answer.status_code, answer.json()["error"]["message"]) == (500, INTERNAL)

    during(FailingWorker(Reply("x", "\ud800", 1, 1, 0.0, 0.0, 0.0, "stop")), use)


def test_a_stream_that_cannot_be_encoded_ends_in_an_error_event() -> None:
    async def use(client: httpx2.AsyncClient) -> None:
        answer = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        *pieces, last, nothing = answer.text.split("\n\n")
        assert (answer.status_code, len(pieces), nothing) == (200, 2, "")
        assert json.loads(last.removeprefix("data: "))["error"]["message"] == INTERNAL

    async def from_the_start(client: httpx2.AsyncClient) -> None:
        answer = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        assert (answer.status_code, answer.json()["error"]["message"]) == (500, INTERNAL)

    reply = Reply("x", "x\ud800", 1, 1, 0.0, 0.0, 0.0, "stop")
    during(FailingWorker(reply, pieces=1), use)
    during(FailingWorker(reply), from_the_start)


def test_a_page_that_fails_is_an_error_in_the_apis_form() -> None:
    async def use(client: httpx2.AsyncClient) -> None:
        answer = await client.get("/metrics")
        assert answer.status_code == 500
        assert answer.json()["error"] == {
            "message": INTERNAL, "type": "server_error", "param": None, "code": None
        }  # fmt: skip

    worker = EchoWorker("cpu:0")
    worker.progress = WorkerProgress(rows_in_use=10**400, waiting=0, output_tokens=0)  # too large for a gauge
    during(worker, use)
