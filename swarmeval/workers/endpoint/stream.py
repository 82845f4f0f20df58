"""What a server streams, read as it comes: answers, when their pieces came, how they ended. Knows no network.

A stream that breaks off is a ServerFault, however much of an answer it held.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from swarmeval.requests import FinishReason
from swarmeval.workers.endpoint.faults import ServerFault, ServerRefused, error_text, status_in

MAX_LINE, MAX_TEXT = 4 << 20, 16 << 20  # bytes of an event, letters of an answer: memory has an end
ENDS: dict[str, FinishReason] = {
    "stop": "stop", "length": "length", "content_filter": "content_filter", "tool_calls": "tool_calls",
    "eos_token": "stop", "stop_sequence": "stop", "function_call": "tool_calls",  # older words
}  # fmt: skip


class _Delta(Struct):
    content: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(Struct):
    index: int = 0
    delta: _Delta | None = None
    message: _Delta | None = None  # of a server that does not stream
    text: str | None = None  # completion mode
    finish_reason: str | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: msgspec.Raw | None = None
    object: Any = None


_chunks: msgspec.json.Decoder[_Chunk] = msgspec.json.Decoder(_Chunk)


class PartialAnswer:
    """One answer as it grows. Times are those the reader was given with the bytes."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.text = ""
        self.pieces = 0  # that said something, thoughts included
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.finish: FinishReason | None = None
        self.tokens: int | None = None  # as the server counts them
        self.cut = False  # it holds a stop string: the server was not told of that, or goes on all the same
        self._stops = stops
        self._overlap = max(map(len, stops), default=1) - 1

    def add(self, choice: _Choice, now: float) -> None:
        """Raises ServerFault for an end that is none."""
        if self.finish is not None:
            return
        delta = choice.delta or choice.message or _Delta()
        new = (delta.content if choice.text is None else choice.text) or ""
        if new or delta.reasoning_content or delta.reasoning:
            self.pieces += 1
            self.first_at = self.first_at or now
            self.last_at = now
        if new:
            start = max(0, len(self.text) - self._overlap)
            self.text += new
            places = [place for stop in self._stops if (place := self.text.find(stop, start)) >= 0]
            if places:
                self.text, self.cut, self.finish = self.text[: min(places)], True, "stop"
                return
            if len(self.text) > MAX_TEXT:
                raise ServerFault(f"an answer of more than {MAX_TEXT >> 20} million letters")
        if choice.finish_reason is not None:
            if choice.finish_reason not in ENDS:
                raise ServerFault(f"an answer ended with finish_reason {choice.finish_reason[:40]!r}")
            self.finish = ENDS[choice.finish_reason]
            self.first_at = self.first_at or now
            self.last_at = self.last_at or now


class StreamReader:
    """The answers of one response, from its bytes as they come."""

    def __init__(self, count: int, stops: Sequence[str]) -> None:
        self.answers = [PartialAnswer(stops) for _ in range(count)]
        self.prompt_tokens: int | None = None
        self.done = False  # the server said so, or nothing more is wanted
        self._tokens: int | None = None  # of all answers together
        self._rest = b""

    def feed(self, data: bytes, now: float) -> None:
        """Raises ServerFault for what is no event of such a stream, ServerRefused for an error that it reports."""
        *lines, self._rest = (self._rest + data).split(b"\n") if b"\n" in data else (self._rest + data,)
        if len(self._rest) > MAX_LINE:
            raise ServerFault(f"sent what is no answer (a line of more than {MAX_LINE >> 20} MiB)")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].strip(), now)

    def read_whole(self, data: bytes, now: float) -> None:
        """A response that is no stream: what it says came all at once."""
        self._take(data, now)
        self.done = True

    def end(self, now: float) -> None:
        """The response is over. Raises ServerFault when an answer that has begun is not."""
        if self._rest.startswith(b"data:"):  # a last line without its end
            rest, self._rest = self._rest, b""
            self._event(rest[5:].strip(), now)
        begun = [answer for answer in self.answers if answer.pieces or answer.finish]
        if not begun or any(answer.finish is None for answer in begun):
            raise ServerFault("the stream ended within an answer" if begun else "the stream ended without an answer")

    def finished(self) -> bool:
        return all(answer.finish is not None for answer in self.answers)

    def count(self) -> None:
        """Give each answer its tokens, where the server tells: of several its sum is shared out by their pieces."""
        if self._tokens is None or any(answer.tokens is not None for answer in self.answers):
            return
        shares = [answer.pieces for answer in self.answers]
        shares = shares if any(shares) else [1] * len(shares)
        remaining, pieces = self._tokens, sum(shares)
        for answer, share in zip(self.answers, shares, strict=True):
            answer.tokens = round(remaining * share / pieces) if pieces else 0
            remaining, pieces = remaining - answer.tokens, pieces - share

    def _event(self, data: bytes, now: float) -> None:
        if data == b"[DONE]":
            self.done = True
        elif data:
            self._take(data, now)

    def _take(self, data: bytes, now: float) -> None:
        try:
            chunk = _chunks.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ServerFault(f"sent what is no answer ({_first_line(error)})") from None
        if chunk.error is not None or chunk.object == "error":
            raise _stream_error(data)
        choices = chunk.choices or []
        for choice in choices:
            if 0 <= choice.index < len(self.answers):
                self.answers[choice.index].add(choice, now)
        if chunk.usage is not None:
            self._usage(chunk.usage, choices)
        if any(answer.cut for answer in self.answers) and self.finished():
            self.done = True

    def _usage(self, usage: _Usage, choices: Sequence[_Choice]) -> None:
        if usage.prompt_tokens is not None:
            self.prompt_tokens = usage.prompt_tokens
        if usage.completion_tokens is None:
            return
        if len(choices) == 1 and len(self.answers) > 1 and 0 <= choices[0].index < len(self.answers):
            self.answers[choices[0].index].tokens = usage.completion_tokens
        else:
            self._tokens = usage.completion_tokens


def _stream_error(data: bytes) -> ServerFault | ServerRefused:
    status = status_in(data)
    if status is not None and 400 <= status < 500 and status not in (408, 429):
        return ServerRefused(status, error_text(data))
    return ServerFault(f"broke off: {error_text(data)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
