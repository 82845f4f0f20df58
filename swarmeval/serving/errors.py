"""What a call can end with instead of an answer: a status, and an error in the form of OpenAI's API."""

import msgspec

RETRY_S = 5  # where no replica is ready


class ApiError(Exception):
    """Base of all; str() is for the client."""

    status = 500
    kind = "server_error"

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        """`param` names the field of the body that is wrong."""
        super().__init__(_encodable(message))
        self.param = None if param is None else _encodable(param)
        self.code = code
        self.retry_s: int | None = None  # when to ask again

    def body(self) -> bytes:
        return msgspec.json.encode(
            {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}}
        )


class InternalError(ApiError):
    """The server failed where it should not have; its log says how."""

    def __init__(self) -> None:
        super().__init__("the server failed to answer this request; its log says why")


class BadRequest(ApiError):
    """The client must change something."""

    status = 400
    kind = "invalid_request_error"


class NotFound(BadRequest):
    """Nothing has this name."""

    status = 404


class NoKey(ApiError):
    """The client has not shown the key."""

    status = 401
    kind = "authentication_error"


class ForeignHost(ApiError):
    """Without a key, clients must call the server by a name of its own."""

    status = 403
    kind = "permission_error"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host!r} is not a name of this server; without a key it is called by its IP address, localhost or a name "
            "in serve.hosts"
        )


class NotJson(BadRequest):
    """The body is not declared as JSON: pages of others can send such ones, so it is not read."""

    def __init__(self, content_type: str | None) -> None:
        """`content_type` is what the client declared, None where it declared nothing."""
        found = "there is no Content-Type header" if content_type is None else f"the Content-Type is {content_type!r}"
        super().__init__(f"{found}; send the body with `Content-Type: application/json`")


class TooLarge(BadRequest):
    """The body is longer than the server reads."""

    status = 413

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the body is longer than {max_bytes} bytes (serve.max_body_mb)")


class BadHttp(BadRequest):
    """What arrived is not an HTTP request that can be taken."""

    def __init__(self) -> None:
        super().__init__("this is not a valid HTTP request")


class HeadTooLarge(BadRequest):
    """A request line and header fields beyond what the server reads."""

    status = 431

    def __init__(self, max_bytes: int, max_fields: int) -> None:
        super().__init__(f"the head of the request is longer than {max_bytes} bytes or {max_fields} fields")


class TooSlow(BadRequest):
    """A request has not arrived in time."""

    status = 408

    def __init__(self) -> None:
        super().__init__("the request did not arrive in time")


class Overloaded(ApiError):
    """Too much waits already."""

    status = 429
    kind = "rate_limit_error"

    def __init__(self, waiting: int, retry_s: int) -> None:
        super().__init__(f"{waiting} answers wait for a row already; ask again in {retry_s} s")
        self.retry_s = retry_s


class Unready(ApiError):
    """No replica can answer now, or the one that did has ended."""

    status = 503

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.retry_s = RETRY_S


class NotAnswered(ApiError):
    """A replica gave up this request; the same one may succeed later. Nothing tells when, so no Retry-After is sent."""

    status = 503


class TooManyConnections(Unready):
    """As many connections as may be open are at work."""

    def __init__(self) -> None:
        super().__init__("too many connections are open (serve.connections)")


def _encodable(text: str) -> str:
    """Text that can be encoded: it may repeat what a client sent."""
    return text.encode(errors="replace").decode()
