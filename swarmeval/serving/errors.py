"""Errors of the API: an HTTP status and a body in OpenAI's format."""

import msgspec

RETRY_S = 5  # Retry-After if no replica is ready


class ApiError(Exception):
    """Base class; str() is the message for the client."""

    status = 500
    kind = "server_error"

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        """`param` names the invalid field of the body."""
        super().__init__(_encodable(message))
        self.param = None if param is None else _encodable(param)
        self.code = code
        self.retry_s: int | None = None  # value of the Retry-After header

    def body(self) -> bytes:
        return msgspec.json.encode(
            {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}}
        )


class InternalError(ApiError):
    """An unexpected error in the server; its log has the details."""

    def __init__(self) -> None:
        super().__init__("internal error: the server failed to answer this request; see its log")


class BadRequest(ApiError):
    """The client must change the request."""

    status = 400
    kind = "invalid_request_error"


class NotFound(BadRequest):
    """The requested name does not exist."""

    status = 404


class NoKey(ApiError):
    """The client sent no key or a wrong one."""

    status = 401
    kind = "authentication_error"


class ForeignHost(ApiError):
    """The Host header does not name this server, which has no key."""

    status = 403
    kind = "permission_error"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host!r} is not a name of this server; without a key, use its IP address, localhost or a name in "
            "serve.hosts"
        )


class NotJson(BadRequest):
    """The body is not declared as JSON. Foreign web pages can send such bodies, so it is not read."""

    def __init__(self, content_type: str | None) -> None:
        """`content_type` is the client's Content-Type header; None if missing."""
        found = "there is no Content-Type header" if content_type is None else f"the Content-Type is {content_type!r}"
        super().__init__(f"{found}; send the body with `Content-Type: application/json`")


class TooLarge(BadRequest):
    """The body exceeds the limit."""

    status = 413

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the body is longer than {max_bytes} bytes (serve.max_body_mb)")


class BadHttp(BadRequest):
    """The data is not a valid HTTP request."""

    def __init__(self) -> None:
        super().__init__("this is not a valid HTTP request")


class HeadTooLarge(BadRequest):
    """The request line and header fields exceed the limit."""

    status = 431

    def __init__(self, max_bytes: int, max_fields: int) -> None:
        super().__init__(f"the head of the request is longer than {max_bytes} bytes or {max_fields} fields")


class TooSlow(BadRequest):
    """The request did not arrive in time."""

    status = 408

    def __init__(self) -> None:
        super().__init__("the request did not arrive in time")


class Overloaded(ApiError):
    """The queue is full."""

    status = 429
    kind = "rate_limit_error"

    def __init__(self, waiting: int, retry_s: int) -> None:
        super().__init__(f"{waiting} answers are already waiting for a row; retry in {retry_s} s")
        self.retry_s = retry_s


class Unready(ApiError):
    """No replica is ready, or the one in use died."""

    status = 503

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.retry_s = RETRY_S


class NotAnswered(ApiError):
    """A replica gave up this request. A retry may succeed, but the time is unknown, so no Retry-After is sent."""

    status = 503


class TooManyConnections(Unready):
    """The limit on open connections is reached and all are busy."""

    def __init__(self) -> None:
        super().__init__("too many connections are open (serve.connections)")


def _encodable(text: str) -> str:
    """The text with lone surrogates replaced: messages may repeat a client's input."""
    return text.encode(errors="replace").decode()
