"""Classification of server errors: temporary faults, refused requests, and the server's message in one line."""

import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from swarmeval.secrets import scrub
from swarmeval.surrogates import without_lone
from swarmeval.workers.endpoint.events import error_in, json_value, token_count

MAX_ERROR_TEXT = 300  # characters of a server's message that are shown
MAX_READ = 4096  # characters of a server's message that are processed
STATUS_WORDS = {  # statuses by words in an error's type or code, if it has no number
    "rate_limit": 429, "timeout": 408, "server_error": 500, "servererror": 500, "internal": 500, "overloaded": 503,
    "unavailable": 503, "invalid_request": 400, "bad_request": 400, "badrequest": 400,
}  # fmt: skip

Kind = Literal["cut", "busy", "unreachable"]


class ServerFault(Exception):
    """A failure of the network or the server; another try may succeed."""

    def __init__(self, reason: str, kind: Kind = "cut", retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.retry_after_s = retry_after_s


class ServerRefused(Exception):
    """The server rejected this request; another try cannot succeed."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, hide: Callable[[str], str] = scrub
) -> ServerFault | ServerRefused:
    """Classify a response with an error status."""
    reason = f"HTTP {status}: {error_text(body, hide)}"
    if status == 429 and b"insufficient_quota" in body:
        return ServerRefused(402, reason)
    if status in (429, 529) or (status == 503 and "Retry-After" in headers):
        return ServerFault(reason, "busy", retry_after_s(headers, time.time()))
    if status in (408, 425) or (status >= 500 and status != 501):
        return ServerFault(reason)
    return ServerRefused(status, reason)


def reported_error(data: bytes, begun: bool, hide: Callable[[str], str] = scrub) -> ServerFault | ServerRefused:
    """Classify an error inside a response of status 200. `begun`: part of an answer preceded it.

    Without a preceding answer, the error is final for this request, unless its status asks for a retry. After the start
    of an answer, another try may help if the server reports a fault of its own. The server accepted path and model, so
    403 and 404 concern this request alone.
    """
    status, words = status_in(data), error_text(data, hide)
    if status == 429 and b"insufficient_quota" in data:
        return ServerRefused(402, words)
    if status in (408, 425, 429, 529) or (begun and status >= 500 and status != 501):
        return ServerFault(f"aborted: {words}")
    return ServerRefused(400 if status in (403, 404) else status, words)


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """The delay in the Retry-After header, given in seconds or as a date; None if missing or invalid."""
    text = headers.get("Retry-After", "").strip()
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        elif text.replace(".", "", 1).isdecimal():
            seconds = float(text)
        else:
            seconds = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, seconds) if seconds == seconds else None


def error_text(body: bytes, hide: Callable[[str], str] = scrub) -> str:
    """The message of an error in any of the usual formats, as one printable line.

    Secrets are removed before truncation, because a truncated secret would not be recognised.
    """
    try:
        message = _message(error_in(json_value(body)))
    except (ValueError, RecursionError):
        message = body.decode(errors="replace")
    message = hide(without_lone(message)[0])[:MAX_READ]
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in message).split())
    return (text if len(text) <= MAX_ERROR_TEXT else text[: MAX_ERROR_TEXT - 3] + "...") or "no reason given"


def status_in(body: bytes) -> int:
    """The HTTP status in the body of an error; 400 if there is none."""
    try:
        error = error_in(json_value(body))
    except (ValueError, RecursionError):
        return 400
    if not isinstance(error, dict):
        return 400
    codes = [error.get(key) for key in ("code", "status", "status_code", "http_status_code", "type", "error_type")]
    for code in codes:
        number = token_count(code)
        if number is not None and 400 <= number < 600:
            return number
    words = " ".join(code.lower() for code in codes if isinstance(code, str))
    return next((status for word, status in STATUS_WORDS.items() if word in words), 400)


def _message(error: Any) -> str:
    if isinstance(error, str):
        return error
    if isinstance(error, dict):
        for key in ("error", "message", "detail", "msg"):
            if error.get(key):
                return _message(error[key])
    if isinstance(error, list):
        return "; ".join(_field_error(part) for part in error[:3])
    return str(error)


def _field_error(part: Any) -> str:
    """One entry of FastAPI's list of validation errors, with its field."""
    place = part.get("loc") if isinstance(part, dict) else None
    return f"{_message(part)}{f' ({place[-1]})' if isinstance(place, list) and place else ''}"
