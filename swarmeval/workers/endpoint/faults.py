"""What goes wrong with a server: what another try may mend, what it refuses, and what it says of that, in one line."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import msgspec

MAX_ERROR_TEXT = 300  # letters of a server's own words that are passed on

Kind = Literal["cut", "busy", "unreachable"]


class ServerFault(Exception):
    """Something on the way, or in the server, that another try may mend."""

    def __init__(self, reason: str, kind: Kind = "cut", retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.retry_after_s = retry_after_s


class ServerRefused(Exception):
    """The server will not answer this request, however often it is asked."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> ServerFault | ServerRefused:
    """What a response that is no answer means."""
    reason = f"HTTP {status}: {error_text(body)}"
    if status == 429 and b"insufficient_quota" in body:
        return ServerRefused(402, reason)
    if status in (429, 529) or (status == 503 and "Retry-After" in headers):
        return ServerFault(reason, "busy", retry_after_s(headers, time.time()))
    if status in (408, 425) or (status >= 500 and status != 501):
        return ServerFault(reason)
    return ServerRefused(status, reason)


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """How long the server wants to be left alone, by seconds or by date; None where it says nothing that is a time."""
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


def error_text(body: bytes) -> str:
    """The server's own words, from the shapes that errors have: one line that is safe to print."""
    try:
        message = _message(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = body[:4096].decode(errors="replace")
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in message).split())
    return (text if len(text) <= MAX_ERROR_TEXT else text[: MAX_ERROR_TEXT - 3] + "...") or "no word of why"


def status_in(body: bytes) -> int | None:
    """The HTTP status that an error within a stream names."""
    try:
        error = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    inner = error.get("error", error) if isinstance(error, dict) else None
    code = inner.get("code") if isinstance(inner, dict) else None
    return code if isinstance(code, int) else int(code) if isinstance(code, str) and code.isdecimal() else None


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
    """An entry of FastAPI's list of faults, with the field it is about."""
    place = part.get("loc") if isinstance(part, dict) else None
    return f"{_message(part)}{f' ({place[-1]})' if isinstance(place, list) and place else ''}"
