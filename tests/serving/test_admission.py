"""Admission is decided from the head of a request, before any of the body is read."""

import asyncio
import base64
from collections.abc import Sequence

import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from swarmeval.serving.admission import CLIENT, Admission, AllowedHosts
from swarmeval.serving.errors import ApiError

KEY = "a-key-of-clients"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await Response("answered")(scope, receive, send)


def status(key: str | None, path: str, *headers: tuple[str, str]) -> int:
    """The status that a client with these headers gets."""
    statuses = []

    async def receive() -> Message:
        raise AssertionError("a body was read")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    def refused(scope: Scope, fault: ApiError) -> Response:
        return Response(fault.body(), fault.status)

    pairs = [(name.lower().encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "path": path, "method": "POST", "headers": pairs}
    asyncio.run(Admission(app, key, AllowedHosts("127.0.0.1", ()), 1000, refused)(scope, receive, send))
    return int(statuses[0])


@pytest.mark.parametrize(
    "path", ["/metrics", "/v1/models", "/v1/chat/completions", "/docs", "/openapi.json", "/health/",
             "/health/../metrics", "//health", "/HEALTH", "/", "/nothing"]
)  # fmt: skip
def test_with_a_key_everything_but_health_asks_for_it(path: str) -> None:
    for shown in ([], [("Authorization", "Bearer wrong")], [("Authorization", f"Bearer {KEY}x")],
                  [("Authorization", f"Bearer {KEY}")] * 2, [("Authorization", "")], [("X-Api-Key", KEY)]):  # fmt: skip
        assert status(KEY, path, *shown) == 401
    assert status(KEY, path, ("Authorization", f"Bearer {KEY}")) == 200
    assert status(KEY, path, ("authorization", f"bearer  {KEY}")) == 200
    assert status(KEY, "/health") == 200


@pytest.mark.parametrize("key", ["ключ-длинный", "a key with spaces", "\udcff-not-utf-8"])
def test_a_key_may_hold_any_text(key: str) -> None:
    assert asyncio.run(passes(key, [(b"authorization", b"Bearer " + key.encode(errors="surrogateescape"))]))
    assert not asyncio.run(passes(key, [(b"authorization", b"Bearer \xff")]))


def test_each_of_several_keys_is_a_client_of_its_own() -> None:
    clients = []

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        clients.append(scope[CLIENT])

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        clients.append(message.get("status", ""))

    admission = Admission(
        named, "one, two", AllowedHosts("127.0.0.1", ()), 9, lambda _, fault: Response(status_code=fault.status)
    )
    in_a_url = b"Basic " + base64.b64encode(b"anyone:two")
    for shown in (b"Bearer one", b"Bearer two", in_a_url, b"Bearer one, two", b"Basic !"):
        scope = {"type": "http", "path": "/", "headers": [(b"authorization", shown)]}
        asyncio.run(admission(scope, nothing, send))
    assert [client for client in clients if client] == ["key 1", "key 2", "key 2", 401, 401]


async def passes(key: str, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    reached = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope)

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        pass

    admission = Admission(
        inner, key, AllowedHosts("127.0.0.1", ()), 1000, lambda _, fault: Response(status_code=fault.status)
    )
    await admission({"type": "http", "path": "/v1/models", "headers": list(headers)}, nothing, send)
    return bool(reached)


@pytest.mark.parametrize("length", ["1001", "629145600", "9" * 18])
def test_a_body_that_says_it_is_too_long_is_refused_before_it_is_read(length: str) -> None:
    head = (("Authorization", f"Bearer {KEY}"), ("Content-Length", length))
    assert status(KEY, "/v1/chat/completions", *head) == 413
    assert status(KEY, "/v1/chat/completions", ("Content-Length", length)) == 401  # the key is checked first
    assert status(KEY, "/v1/chat/completions", head[0], ("Content-Length", "1000")) == 200


FOREIGN = [
    "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example:8000", "evil-localhost",
    "localhost@evil.example", "evil.example#localhost", "localhost:8000:9000", "localhost:port", "", ":8000", "[::1",
    "::1", "192.168.1.7:8000", "[2001:db8::1]:8000", "0.0.0.0.nip.io", "localhost, evil.example",
    "127.0.0.1 evil.example", "2130706433", "0x7f.1", "localhost\u0000",
]  # fmt: skip
OWN = ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1", "127.0.0.1:8000", "127.0.0.2", "[::1]", "[::1]:8000"]


@pytest.mark.parametrize("host", FOREIGN)
def test_without_a_key_a_foreign_host_name_is_refused(host: str) -> None:
    for path in ("/v1/chat/completions", "/health", "/metrics"):
        assert status(None, path, ("Host", host)) == 403
    assert status(KEY, "/v1/models", ("Host", host), ("Authorization", f"Bearer {KEY}")) == 200


@pytest.mark.parametrize("host", OWN)
def test_without_a_key_the_servers_own_names_are_answered(host: str) -> None:
    assert status(None, "/v1/models", ("Host", host)) == 200
    assert status(None, "/v1/models", ("Host", host), ("Host", host)) == 403
    assert status(None, "/v1/models") == 403


def test_a_server_that_others_reach_answers_to_its_addresses_and_names() -> None:
    hosts = AllowedHosts("0.0.0.0", ("Models.Lab.Example",))
    assert all(map(hosts, ["192.168.1.7:8000", "[2001:db8::1]:8000", "models.lab.example:80", *OWN]))
    assert not any(map(hosts, ["evil.example", "models.lab.example.evil.example"]))
    assert AllowedHosts("gpu-box", ())("gpu-box:8000")
