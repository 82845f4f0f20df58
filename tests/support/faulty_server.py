"""A small OpenAI-compatible server on a real socket that misbehaves on demand, request by request.

Its model answers with the prompt's function and a return value drawn from the seed, one word per piece. `plan` lists
the acts for the next requests for answers, in order. Once it is empty, requests are answered correctly. Unless
`spare_probes` is on, probes use up acts too.
"""

import asyncio
import contextlib
import json
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

PROBES = ("Say hello.", "Hello,")


@dataclass(frozen=True)
class Act:
    """The server's reaction to one request."""

    kind: str = "well"  # well, status, hang, half, reset, garbage, html, slow, whole, error_event, end, endless
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content: Any = None  # the body of an error, or the text of an answer


class FaultyServer:
    """Serves while its context is entered; records every request."""

    def __init__(self, *, model: str = "tiny", port: int = 0, piece_s: float = 0.0, rows: int = 1000) -> None:
        self.plan: deque[Act] = deque()
        self.requests: list[dict[str, Any]] = []  # the bodies of requests for answers
        self.headers: list[dict[str, str]] = []  # of all requests
        self.paths: list[str] = []
        self.always: Act | None = None  # the act for requests beyond the plan
        self.spare_probes = True
        self.key: str | None = None  # required in requests if set
        self.models: Act = Act(
            content={"object": "list", "data": [{"id": model, "owned_by": "vllm", "max_model_len": 99}]}
        )
        self.metrics: str | None = None  # the page /metrics
        self.chat = self.completions = self.counts = self.takes_n = True
        self.refused_field: str | None = None  # servers that know only OpenAI's fields refuse one
        self.in_flight = self.most_in_flight = self.hung_up = 0
        self.piece_s = piece_s
        self.port = port
        self._rows = asyncio.Semaphore(rows)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> "FaultyServer":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening and reset every connection."""
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hung_up += 1
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection stays open."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        path = first.split(" ")[1]
        self.headers.append(headers)
        self.paths.append(path)
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}" and path.startswith("/v1"):
            problem = f"Incorrect API key provided: {headers.get('authorization')}"
            await _json(writer, 401, {"error": {"message": problem}})
        elif path == "/v1/models":
            await _json(writer, self.models.status, self.models.content)
        elif path == "/version":
            await _json(writer, 200, {"version": "0.0.1"})
        elif path == "/metrics" and self.metrics is not None:
            await _json(writer, 200, self.metrics.encode())
        elif path in ("/v1/chat/completions", "/v1/completions") and self._has(path):
            return await self._answered(json.loads(body), writer)
        else:
            await _json(writer, 404, {"detail": "Not Found"})
        return True

    def _has(self, path: str) -> bool:
        return self.chat if "chat" in path else self.completions

    async def _answered(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        probe = _prompt(body) in PROBES
        self.requests += [] if probe else [body]
        act = Act() if probe and self.spare_probes else self.plan.popleft() if self.plan else self.always or Act()
        if self.refused_field in body:
            problem = f"Unrecognized request argument supplied: {self.refused_field}"
            act = Act("status", 400, content={"error": {"message": problem}})
        if len(body.get("stop", ())) > 4:  # as vLLM does
            act = Act("status", 400, content={"error": {"message": "List should have at most 4 items (stop)"}})
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            async with self._rows:
                return await self._do(act, body, writer)
        finally:
            self.in_flight -= 1

    async def _do(self, act: Act, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        if act.kind == "status":
            await _json(writer, act.status, act.content, act.headers)
            return True
        if act.kind == "hang":
            await asyncio.sleep(3600)
        if act.kind == "reset":
            return False
        if act.kind == "whole":
            await _json(writer, 200, self._whole(body))
            return True
        kind = "text/html" if act.kind == "html" else "text/event-stream"
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        events = self._events(body, act)
        for number, event in enumerate(events):
            if act.kind == "half" and number == len(events) // 2:
                return False
            await _chunk(writer, event)
            if self.piece_s:
                await asyncio.sleep(self.piece_s)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def _whole(self, body: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": _text(body, 0)}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": _usage(body, 1)}

    def _events(self, body: dict[str, Any], act: Act) -> list[bytes]:
        """The events of a stream with its answers interleaved."""
        if act.kind == "html":
            return [b"<html>welcome</html>"]
        answers = body.get("n", 1) if self.takes_n else 1
        texts = [act.content if isinstance(act.content, str) else _text(body, number) for number in range(answers)]
        words = [[piece for piece in text.replace(" ", " \0").split("\0") if piece] for text in texts]
        events = [b": a comment\n\n"]
        for place in range(max(map(len, words))):
            for number, pieces in enumerate(words):
                if place < len(pieces):
                    events.append(_event(body, number, pieces[place]))
        if act.kind == "garbage":
            return [*events[:2], b'data: {"choices": [{"index": 0, "delta": {"con\n\n']
        if act.kind == "end":  # all the text, but no finish_reason
            return [*events, b"data: [DONE]\n\n"]
        if act.kind == "error_event":
            return [*events[:2], b"data: " + json.dumps(act.content).encode() + b"\n\n"]
        if act.kind == "endless":
            return events * 1000
        reason = act.headers.get("finish_reason", "stop")
        events += [_event(body, number, "", reason) for number in range(answers)]
        if self.counts:
            usage = {"choices": [], "usage": _usage(body, answers)}
            events.append(b"data: " + json.dumps(usage).encode() + b"\r\n\r\n")
        return [*events, b"data: [DONE]\n\n"]


def _prompt(body: dict[str, Any]) -> str:
    return str(body["prompt"] if "prompt" in body else body["messages"][-1]["content"])


def _text(body: dict[str, Any], number: int) -> str:
    return f"```python\ndef f():\n    return {(body.get('seed', 0) + number) % 5}\n```"


def _usage(body: dict[str, Any], answers: int) -> dict[str, int]:
    return {"prompt_tokens": len(_prompt(body)), "completion_tokens": 10 * answers}


def _event(body: dict[str, Any], number: int, piece: str, reason: str | None = None) -> bytes:
    part = {"text": piece} if "prompt" in body else {"delta": {"content": piece}}
    return b"data: " + json.dumps({"choices": [{"index": number, **part, "finish_reason": reason}]}).encode() + b"\n\n"


async def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
    await writer.drain()


async def _json(writer: asyncio.StreamWriter, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Said", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + data)
    await writer.drain()


@contextlib.contextmanager
def in_a_thread(server: FaultyServer) -> Iterator[FaultyServer]:
    """Serve in a thread, for tests that block on a process."""
    ready, ends = threading.Event(), threading.Event()

    async def serve() -> None:
        async with server:
            ready.set()
            await asyncio.to_thread(ends.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(10)
    try:
        yield server
    finally:
        ends.set()
        thread.join(10)
