"""Clients that send too much, too slowly or too often: each gets an answer or is cut off, and others are served."""

import contextlib
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx2
import pytest

from swarmeval.serving.connection import HEAD_BYTES, HEAD_FIELDS, Deadlines
from swarmeval.settings.serve import ServeSettings
from swarmeval.workers.replica_spec import Script
from tests.support.scripted_server import Served, serving

pytestmark = pytest.mark.slow

KEY = "a-key-of-clients"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
SHOWN = b"authorization: Bearer " + KEY.encode() + b"\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
CHAT = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "x"}]}).encode()
IMPATIENT = Deadlines(head_s=0.3, body_s=0.3)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Script(rows=4), key=KEY, serve=ServeSettings(max_body_mb=1)) as running:
        yield running


@contextmanager
def client(served: Served) -> Iterator[socket.socket]:
    host, port = served.root.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        yield sock


def answer(sock: socket.socket) -> tuple[int, bytes]:
    """The status and text of one answer; (0, b"") if the connection ends without one."""
    text = b""
    with contextlib.suppress(ConnectionResetError):
        while b"\r\n\r\n" not in text and (piece := sock.recv(65536)):
            text += piece
        length = next((line for line in text.lower().split(b"\r\n") if line.startswith(b"content-length: ")), b": 0")
        while len(text.partition(b"\r\n\r\n")[2]) < int(length.split(b": ")[1]) and (piece := sock.recv(65536)):
            text += piece
    return (int(text.split(b" ", 2)[1]), text) if text else (0, b"")


def closed(sock: socket.socket) -> bool:
    """Whether the server closes the connection before the socket times out."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def is_well(served: Served) -> bool:
    return httpx2.get(served.root + "/health", timeout=20).status_code == 200


LONG = b"a" * (HEAD_BYTES + 1)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: " + LONG,
        b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: " + LONG + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: localhost\r\n" + LONG,
        b"GET /health?" + LONG,
        b"GET /health?" + LONG + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"x: y\r\n" * (HEAD_FIELDS + 2),
        b"GET /health HTTP/1.1\r\n" + b"x: y\r\n" * (HEAD_FIELDS + 1) + b"\r\n",
        b"\r\n" * HEAD_BYTES,
    ],
)
def test_a_head_without_end_is_cut_off(served: Served, sent: bytes) -> None:
    with client(served) as sock:
        sock.sendall(sent)
        status, text = answer(sock)
        assert status == 431
        assert text.endswith(
            b'{"error":{"message":"the head of the request is longer than 65536 bytes or 100 fields",'
            b'"type":"invalid_request_error","param":null,"code":null}}'
        )
        assert closed(sock)
    assert is_well(served)


@pytest.mark.parametrize("after", [b"0\r\nx: " + LONG, b"1;" + LONG, b"0\r\n" + b"x: y\r\n" * (HEAD_FIELDS + 1)])
def test_what_surrounds_a_chunked_body_has_an_end_as_well(served: Served, after: bytes) -> None:
    with client(served) as sock:
        sock.sendall(POST + SHOWN + b"transfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n")
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"  # the server has read the head
        sock.sendall(after)
        assert answer(sock)[0] == 431
        assert closed(sock)


def test_a_client_that_goes_on_sending_is_closed(served: Served) -> None:
    with client(served) as sock, pytest.raises(ConnectionError):
        sock.sendall(b"GET /health HTTP/1.1\r\nx: " + b"a" * (100 << 20))


def test_invalid_http_gets_an_error_in_the_apis_format(served: Served) -> None:
    for sent in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", POST + b"content-length: x\r\n\r\n",
                 POST + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"):  # fmt: skip
        with client(served) as sock:
            sock.sendall(sent)
            status, text = answer(sock)
            assert status == 400
            assert b'"message":"this is not a valid HTTP request"' in text
            assert closed(sock)


def test_without_the_key_an_answer_comes_before_the_body(served: Served) -> None:
    for length in (b"content-length: 1000\r\n", b"content-length: 629145600\r\n", b"transfer-encoding: chunked\r\n"):
        with client(served) as sock:
            sock.sendall(POST + length + b"\r\n")
            assert answer(sock)[0] == 401


def test_an_unneeded_body_is_dropped_and_the_connection_kept(served: Served) -> None:
    with client(served) as sock:
        sock.sendall(POST + b"content-length: 3000000\r\n\r\n")
        assert answer(sock)[0] == 401
        sock.sendall(b"a" * 3_000_000 + HEALTH)
        assert answer(sock)[0] == 200


def test_a_body_that_is_too_long_is_refused_with_or_without_a_length(served: Served) -> None:
    told = b"the body is longer than 1048576 bytes (serve.max_body_mb)"
    with client(served) as sock:
        sock.sendall(POST + SHOWN + b"content-length: 1048577\r\n\r\n")
        status, text = answer(sock)
        assert (status, told in text) == (413, True)
    with client(served) as sock:
        sock.sendall(POST + SHOWN + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(17):
            sock.sendall(b"10000\r\n" + b"a" * 65536 + b"\r\n")
        status, text = answer(sock)
        assert (status, told in text) == (413, True)
    body = CHAT + b" " * (1048576 - len(CHAT))
    asked = httpx2.post(served.url + "/chat/completions", content=body, headers={"authorization": f"Bearer {KEY}",
                        "content-type": "application/json"})  # fmt: skip
    assert asked.status_code == 200


def test_a_request_that_does_not_arrive_in_time_is_given_up() -> None:
    with serving(Script(rows=4), deadlines=IMPATIENT) as served:
        body = POST + b"content-length: 10\r\n\r\n"
        chunks = POST + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"
        begun = (b"GET /health HTTP/1.1\r\nhost: local", POST, body, body + b"{", chunks)
        for sent in begun:
            with client(served) as sock:
                sock.sendall(sent)
                status, text = answer(sock)
                assert (status, b"the request did not arrive in time" in text) == (408, True)
                assert closed(sock)
        with client(served) as sock:
            assert closed(sock)  # a client that sends nothing
        with client(served) as sock:  # opens a second request
            sock.sendall(HEALTH)
            assert answer(sock)[0] == 200
            sock.sendall(b"GET /hea")
            assert answer(sock)[0] == 408
            assert closed(sock)


def test_a_client_that_sends_a_little_now_and_then_has_no_more_time() -> None:
    with serving(Script(rows=4), deadlines=IMPATIENT) as served:
        for head, drip in ((b"GET /health HTTP/1.1\r\nx: ", b"a"), (POST + b"content-length: 9999\r\n\r\n", b"{"),
                           (b"", b"\r\n")):  # fmt: skip
            with client(served) as sock:
                sock.sendall(head)
                sock.settimeout(0.02)
                for _ in range(500):
                    try:
                        sock.sendall(drip)
                        if not sock.recv(65536):
                            break
                    except TimeoutError:
                        continue
                    except ConnectionError:
                        break
                else:
                    raise AssertionError("it may go on for ever")


def test_half_open_connections_do_not_lock_out_clients() -> None:
    with serving(Script(rows=4), serve=ServeSettings(connections=8)) as served, ExitStack() as held:
        socks = [held.enter_context(client(served)) for _ in range(50)]
        for number, sock in enumerate(socks):
            with contextlib.suppress(ConnectionError):
                sock.sendall(POST if number % 2 else POST + b"content-length: 10\r\n\r\n")
        assert is_well(served)
        assert all(closed(sock) for sock in socks[:42])


def test_if_all_connections_are_active_a_new_one_gets_503() -> None:
    slow = POST + b"content-length: %d\r\n\r\n%s" % (len(CHAT), CHAT)
    with serving(Script(rows=4, steps=60, step_s=0.01), serve=ServeSettings(connections=2)) as served:
        with client(served) as first, client(served) as second:
            first.sendall(slow)
            second.sendall(slow)
            served.until(lambda: served.pool.in_flight == 2)
            with client(served) as third:
                status, text = answer(third)
                assert (status, b"too many connections are open (serve.connections)" in text) == (503, True)
            assert answer(first)[0] == answer(second)[0] == 200  # active connections were kept
        assert is_well(served)


def test_a_request_sent_ahead_of_an_answer_ends_the_connection_after_it(served: Served) -> None:
    with client(served) as sock:
        sock.sendall(HEALTH * 1000)
        assert answer(sock)[0] == 200
        assert closed(sock)
    slow = POST + b"content-length: %d\r\n\r\n%s" % (len(CHAT), CHAT)
    with serving(Script(rows=4, steps=30, step_s=0.01)) as other, client(other) as sock:
        sock.sendall(slow + POST + b"content-length: 999999999\r\n\r\n")
        assert answer(sock)[0] == 200
        assert closed(sock)
