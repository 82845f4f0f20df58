"""A client connection with limits on arrival time, head size, and the number of open connections.

Extends uvicorn's protocol, which applies no limits before a request is complete. Does not know about the application.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from swarmeval.serving.errors import ApiError, BadHttp, HeadTooLarge, TooManyConnections, TooSlow

HEAD_BYTES = 65536
HEAD_FIELDS = 100
LINGER_S = 1.0  # time for a client to read the error before the connection is closed
LINGER_BYTES = 1 << 20  # bytes that the client may still send in that time


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Time limits for the arrival of a request."""

    head_s: float = 10.0  # from the first byte, or from the start of the connection
    body_s: float = 60.0  # after the head


class BoundedConnection(HttpToolsProtocol):
    """Takes one request at a time. A pipelined request ends the connection after the current answer."""

    max_connections: int
    deadlines: Deadlines

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._unparsed_bytes = 0  # received since the parser completed anything
        self._in_body = False
        self._fault: ApiError = BadHttp()  # the answer if the parser stops
        self._stopped_reading = False  # drop all further data
        self._dropped_bytes = 0
        self._evicted = False
        self._waiting_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        self._set_deadline(self.deadlines.head_s)
        if len(self.connections) > self.max_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._stopped_reading:
            self._dropped_bytes += len(data)
            if self._dropped_bytes > LINGER_BYTES:
                self.transport.abort()
            return
        if self._deadline is None:  # the first bytes of another request
            self._set_deadline(self.deadlines.head_s)
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._unparsed_bytes > HEAD_BYTES and not self._stopped_reading:
            self._end(HeadTooLarge(HEAD_BYTES, HEAD_FIELDS))

    # Callbacks of the parser. An exception stops it, and uvicorn calls send_400_response().

    def on_message_begin(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            raise ValueError("a request before the last one was answered")
        super().on_message_begin()
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._unparsed_bytes = 0
        self._in_body = True
        self._set_deadline(self.deadlines.body_s)

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed_bytes = 0
        self._in_body = False
        self._clear_deadline()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._waiting_since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        self._end(self._fault)

    def _count(self, length: int) -> None:
        """Count bytes of the head, including trailers of a chunked body. Raises ValueError if it gets too large."""
        self._head_bytes += length
        if self._head_bytes > HEAD_BYTES or len(self.headers) >= HEAD_FIELDS:
            self._fault = HeadTooLarge(HEAD_BYTES, HEAD_FIELDS)
            raise ValueError(str(self._fault))

    def _set_deadline(self, after_s: float) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(after_s, self._too_slow)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if self.cycle is None and not self._unparsed_bytes:
            self.transport.close()  # the client sent nothing, so it expects no answer
        else:
            self._end(TooSlow())

    def _is_waiting(self) -> bool:
        """Whether the connection waits for its client to send or to read."""
        return (
            self.cycle is None or self.cycle.response_complete or self.cycle.more_body or self.flow.write_paused
        ) and not self._evicted

    def _make_room(self) -> None:
        """Close the connection that has waited for its client longest, or this one if all others are busy."""
        others = [other for other in self.connections if isinstance(other, BoundedConnection) and other is not self]
        waiting = [other for other in others if other._is_waiting()]
        if not waiting:
            self._end(TooManyConnections())
            return
        oldest = min(waiting, key=lambda other: other._waiting_since)
        oldest._evicted = True
        oldest.transport.abort()

    def _end(self, fault: ApiError) -> None:
        """Stop reading and close the connection, after answering with the fault if no answer has started yet."""
        self._stopped_reading = True
        self._clear_deadline()
        at_work = self.cycle is not None and not self.cycle.response_complete
        if at_work and not self._in_body:
            self.cycle.keep_alive = False  # the previous request is still answered
            return
        if self._in_body and self.cycle.response_started:
            self.transport.close()
            return
        body = fault.body()
        head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[fault.status] + head.encode() + body)
        self.transport.write_eof()
        # Closing with unread bytes would reset the connection, and the client might lose the answer.
        self._deadline = self.loop.call_later(LINGER_S, self.transport.close)
