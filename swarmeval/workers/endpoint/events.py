"""Decoding of one JSON object from a server: choices, token counts, an error. Does not know about streams.

Servers differ in the types they use. Objects of the usual types are decoded directly. Others are read value by value,
and invalid values are ignored.
"""

import json
import math
from typing import Any

import msgspec
from msgspec import Struct

MAX_TOKENS = 1 << 24  # larger token counts of a response are ignored
MAX_DIGITS = 19  # of an integer; longer ones are read as infinity
THOUGHTS = ("thinking", "redacted_thinking", "reasoning", "reasoning_content", "reasoning_text", "thought")


class Delta(Struct):
    """The next part of an answer, or the whole answer."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None

    @property
    def thought(self) -> str:
        """The thought in it, which servers send under either name."""
        return self.reasoning_content or self.reasoning or ""


class AnswerChoice(Struct):
    """The part of an event that concerns one answer."""

    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None  # from servers that do not stream
    text: str | None = None  # completion mode
    finish_reason: str | None = None
    error: Any = None


class TokenDetails(Struct):
    """The part of `usage` that says what the output tokens were."""

    reasoning_tokens: int | None = None


class TokenCounts(Struct):
    """The `usage` object: the server's own token counts."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_tokens_details: TokenDetails | None = None


class Chunk(Struct):
    """One event of a stream, or the whole answer of a server that does not stream."""

    choices: list[AnswerChoice] | None = None
    usage: TokenCounts | None = None
    error: Any = None
    object: Any = None
    type: Any = None
    detail: Any = None
    message: Any = None

    def is_error(self, alone: bool) -> bool:
        """Whether the event as a whole is an error. `alone`: the server sent nothing else."""
        if self.object == "error" or self.type == "error":
            return True
        if self.error is not None and says_something(self.error):
            return True
        if self.choices is None and self.usage is None:
            return says_something(self.detail) or (alone and says_something(self.message))
        return False


_chunks: msgspec.json.Decoder[Chunk] = msgspec.json.Decoder(Chunk)


def decode(data: bytes) -> Chunk:
    """Decode an event. Raises ValueError or RecursionError if it is not a JSON object."""
    try:
        return _chunks.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _chunk(json_value(data))


def json_value(data: bytes) -> Any:
    """Decode JSON leniently: NaN, raw control characters and lone surrogates are accepted.

    An invalid UTF-8 byte becomes a lone surrogate. Raises ValueError or RecursionError.
    """
    try:
        text = data.decode("utf-8-sig", "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("utf-8-sig", "surrogateescape")
    return json.loads(text, strict=False, parse_int=_number)


def token_count(value: object) -> int | None:
    """The value as a token count; None if it is not a plausible one."""
    count = _integer(value)
    return count if count is not None and 0 <= count <= MAX_TOKENS else None


def error_in(value: Any) -> Any:
    """The part of an object that describes its error."""
    if not isinstance(value, dict):
        return value
    choices = value.get("choices")
    inner = [choice.get("error") for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    return next((error for error in (value.get("error"), *inner) if says_something(error)), value)


def _chunk(value: object) -> Chunk:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    choices, usage = value.get("choices"), value.get("usage")
    choices = [choices] if isinstance(choices, dict) else choices
    return Chunk(
        choices=[_choice(choice) for choice in choices if isinstance(choice, dict)]
        if isinstance(choices, list)
        else None,
        usage=_counts(usage) if isinstance(usage, dict) else None,
        **{name: value.get(name) for name in ("error", "object", "type", "detail", "message")},
    )


def _counts(usage: dict[str, Any]) -> TokenCounts:
    details = usage.get("completion_tokens_details")
    thought = _integer(details.get("reasoning_tokens")) if isinstance(details, dict) else None
    return TokenCounts(
        _integer(usage.get("prompt_tokens")), _integer(usage.get("completion_tokens")), TokenDetails(thought)
    )


def _choice(value: dict[str, Any]) -> AnswerChoice:
    return AnswerChoice(
        index=_integer(value.get("index")) or 0,
        delta=_delta(value.get("delta")),
        message=_delta(value.get("message")),
        text=_text(value.get("text")),
        finish_reason=_word(value.get("finish_reason")),
        error=value.get("error"),
    )


def _delta(value: object) -> Delta | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        return Delta(_text(value))
    content = value.get("content")
    thoughts = [_thought(part) for part in content if _is_thought(part)] if isinstance(content, list) else []
    thought = _said(value.get("reasoning_content")) or _said(value.get("reasoning")) or "".join(thoughts)
    return Delta(_text(content), thought or None)


def _said(thought: object) -> str:
    """The text of a reasoning field, which some servers fill with objects."""
    return thought if isinstance(thought, str) else _thought(thought) if thought else ""


def _thought(part: Any) -> str:
    """The text of a part that holds a thought, under whatever key, also in parts of its own."""
    if isinstance(part, list):
        return "".join(map(_thought, part))
    if isinstance(part, dict):
        texts = (part.get(key) for key in ("text", "thinking", "reasoning", "summary", "content"))
        return _thought(next((text for text in texts if isinstance(text, str | list)), ""))
    return part if isinstance(part, str) else ""


def _text(content: object) -> str | None:
    """The text of a content value, whose parts are joined if it is a list. Reasoning is left out."""
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_text(part) or "" for part in content)
    if isinstance(content, dict):
        parts = (content.get(key) for key in ("text", "value", "content"))
        return "" if _is_thought(content) else _text(next((part for part in parts if part is not None), ""))
    return json.dumps(content)


def _is_thought(part: object) -> bool:
    return isinstance(part, dict) and (part.get("type") in THOUGHTS or part.get("thought") is True)


def _word(reason: object) -> str | None:
    """A finish reason; SGLang's is an object with a type."""
    if isinstance(reason, dict):
        reason = next((reason[key] for key in ("type", "reason") if key in reason), None)
    return reason if reason is None or isinstance(reason, str) else json.dumps(reason)


def _integer(value: object) -> int | None:
    """The value as an integer, also from a string or a float like 3.0; otherwise None."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = _number(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else math.inf


def says_something(error: object) -> bool:
    """Whether an `error` value reports an error: without one, servers send null, "" or an object of nulls."""
    return any(map(says_something, error.values())) if isinstance(error, dict) else bool(error)
