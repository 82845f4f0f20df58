"""What a call can end with instead of an answer: a status, and an error in the form of OpenAI's API."""

import msgspec

RETRY_S = 5  # where no replica is ready


class ApiError(Exception):
    """Base of all; str() is for the client."""

    status = 500
    kind = "server_error"

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        """`param` names the field of the body that is wrong."""
        super().__init__(message)
        self.param = param
        self.code = code
        self.retry_s: int | None = None  # when to ask again

    def body(self) -> bytes:
        return msgspec.json.encode(
            {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}}
        )


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
