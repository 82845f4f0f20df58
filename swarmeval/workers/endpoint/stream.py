"""What a server streams, read as it comes: answers, when their pieces came, how they ended. Knows no network.

A stream that breaks off is a ServerFault, however much of an answer it held. What does not begin as a stream is read as
one JSON object, whatever the server calls it.
"""

from collections.abc import Callable, Sequence

from swarmeval.secrets import scrub
from swarmeval.surrogates import note, without_lone
from swarmeval.workers.endpoint.endings import ending
from swarmeval.workers.endpoint.events import (
    AnswerChoice,
    Chunk,
    Delta,
    TokenCounts,
    decode,
    says_something,
    token_count,
)
from swarmeval.workers.endpoint.faults import ServerFault, ServerRefused, error_text, reported_error

MAX_LINE, MAX_TEXT = 4 << 20, 16 << 20  # bytes of an event, letters of an answer: memory has an end
MARK_AND_SPACE = b"\xef\xbb\xbf \t\r\n"  # what may stand before a response begins


class PartialAnswer:
    """One answer as it grows. Times are those the reader was given with the bytes."""

    def __init__(self, stops: Sequence[str], hide: Callable[[str], str]) -> None:
        self.text = ""
        self.pieces = 0  # that said something, thoughts included
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.finish: str | None = None  # "" where the server ends it and does not say why
        self.tokens: int | None = None  # as the server counts them
        self.cut = False  # it holds a stop string: the server was not told of that, or goes on all the same
        self._hide = hide
        self._stops = stops
        self._overlap = max(map(len, stops), default=1) - 1
        self._reason: str | None = None  # the last that was given
        self._went_on = False  # text followed a reason: only the end of the stream ends this answer

    def add(self, choice: AnswerChoice, now: float) -> None:
        if self.cut:
            return
        delta = choice.delta or choice.message or Delta()
        new = (delta.content if choice.text is None else choice.text) or ""
        if choice.delta is None and choice.message is not None:  # a last event may say all of the answer once more
            new = new.removeprefix(self.text)
        if new or delta.reasoning_content or delta.reasoning:
            self.pieces += 1
            self.first_at = self.first_at or now
            self.last_at = now
        if new:
            self._append(new)
        if choice.finish_reason is None:
            self._reason = self._reason or None  # an empty one counts where it is the last
        elif not self.cut:
            self._reason = ending(choice.finish_reason, self._hide)
            if self._reason and not self._went_on:
                self.finish = self._reason
            self.first_at = self.first_at or now
            self.last_at = self.last_at or now

    def settle(self) -> None:
        """The stream is over, and whole: a reason that text followed, or an empty one, is the answer's end."""
        if self.finish is None:
            self.finish = self._reason

    def final_text(self) -> tuple[str, str]:
        """The text as it can be saved, and a note of what was replaced in it."""
        text, replaced = without_lone(self.text)
        return text, note(replaced)

    def _append(self, new: str) -> None:
        """Raises ServerFault for a text without an end."""
        if self._reason:
            self._went_on, self.finish = True, None
        start = max(0, len(self.text) - self._overlap)
        self.text += new
        places = [place for stop in self._stops if (place := self.text.find(stop, start)) >= 0]
        if places:
            self.text, self.cut, self.finish = self.text[: min(places)], True, "stop"
        elif len(self.text) > MAX_TEXT:
            raise ServerFault(f"an answer of more than {MAX_TEXT >> 20} million letters")


class StreamReader:
    """The answers of one response, from its bytes as they come."""

    def __init__(self, count: int, stops: Sequence[str], hide: Callable[[str], str] = scrub) -> None:
        """`hide` takes secrets out of the server's own words."""
        self.answers = [PartialAnswer(stops, hide) for _ in range(count)]
        self.prompt_tokens: int | None = None
        self.done = False  # the server said so, or nothing more is wanted
        self._hide = hide
        self._tokens: int | None = None  # of all answers together
        self._rest = b""
        self._streams = False  # something of a stream was read
        self._held: list[bytes] = []  # lines of an event that is longer than one
        self._held_bytes = 0
        self._event_name = b""
        self._aside = ""  # the last data that was no JSON: a sign of life, or why the stream ends

    def feed(self, data: bytes, now: float) -> None:
        """Raises ServerFault for what is no event of such a stream, ServerRefused for an error that it reports."""
        data = self._rest + data
        if not self._streams:
            data = data.lstrip(MARK_AND_SPACE)
            self._streams = data[:1] not in (b"", b"{", b"[")
            if not self._streams:
                self._rest = data
                if len(data) > MAX_TEXT:
                    raise ServerFault("a response that does not end")
                return
        lines = data.splitlines(keepends=True)  # at \n, \r\n and \r
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        if len(self._rest) > MAX_LINE:
            raise ServerFault(f"sent what is no answer (a line of more than {MAX_LINE >> 20} MiB)")
        for line in lines:
            if line != b"\n" or self._held or self._event_name:  # most blank lines end nothing
                self._line(line, now)

    def end(self, now: float) -> None:
        """The response is over. Raises ServerFault when an answer that has begun is not."""
        rest, self._rest = self._rest, b""
        if self._streams:
            self._line(rest, now)  # a last line without its end
            self._line(b"", now)
        elif rest:
            self._whole(rest, now)
        if self.done:
            for answer in self.answers:
                answer.settle()
        begun = [answer for answer in self.answers if answer.pieces or answer.finish is not None]
        if not begun or any(answer.finish is None for answer in begun):
            place = "within" if begun else "without"
            raise ServerFault(f"the stream ended {place} an answer" + (f": {self._aside}" if self._aside else ""))

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

    def _line(self, line: bytes, now: float) -> None:
        """One line of the stream; a blank one ends an event."""
        if self.done:
            return
        if line.startswith(b"data:"):
            self._data(line[5:].strip(), now)
        elif line.startswith(b"event:"):
            self._event_name = line[6:].strip()
        elif not line.strip():
            held, self._held = b"\n".join(self._held), []
            if held:
                self._take(self._decoded(held), held, now)
            self._event_name = b""
        elif not line.startswith((b":", b"id:", b"retry:")):
            self._aside = error_text(line, self._hide)

    def _data(self, data: bytes, now: float) -> None:
        if self._held:
            self._held.append(data)
            self._held_bytes += len(data) + 1
            if self._held_bytes > MAX_LINE:
                raise ServerFault(f"sent what is no answer (an event of more than {MAX_LINE >> 20} MiB)")
        elif data == b"[DONE]":
            self.done = True
        elif data[:1] in (b"{", b"["):
            try:
                chunk = decode(data)
            except (ValueError, RecursionError):
                self._held, self._held_bytes = [data], len(data)  # its other lines may follow
            else:
                self._take(chunk, data, now)
        elif data:
            self._aside = error_text(data, self._hide)

    def _whole(self, data: bytes, now: float) -> None:
        """A response that is no stream: what it says came all at once."""
        chunk = self._decoded(data)
        if chunk.is_error(alone=True):
            raise self._reported(data)
        self._take(chunk, data, now)
        self.done = True

    def _decoded(self, data: bytes) -> Chunk:
        try:
            return decode(data)
        except (ValueError, RecursionError) as error:
            raise ServerFault(f"sent what is no answer ({_first_line(error)})") from None

    def _take(self, chunk: Chunk, data: bytes, now: float) -> None:
        if self._event_name == b"error" or chunk.is_error(alone=False):
            raise self._reported(data)
        choices = chunk.choices or []
        for choice in choices:
            if choice.error is not None and says_something(choice.error):
                raise self._reported(data)
            if 0 <= choice.index < len(self.answers):
                self.answers[choice.index].add(choice, now)
        if chunk.usage is not None:
            self._usage(chunk.usage, choices)
        if any(answer.cut for answer in self.answers) and self.finished():
            self.done = True

    def _reported(self, data: bytes) -> ServerFault | ServerRefused:
        return reported_error(data, any(answer.pieces for answer in self.answers), self._hide)

    def _usage(self, usage: TokenCounts, choices: Sequence[AnswerChoice]) -> None:
        prompt, output = token_count(usage.prompt_tokens), token_count(usage.completion_tokens)
        if prompt is not None:
            self.prompt_tokens = prompt
        if not output:  # of what says nothing the pieces are none as well
            return
        if len(choices) == 1 and len(self.answers) > 1 and 0 <= choices[0].index < len(self.answers):
            self.answers[choices[0].index].tokens = output
        else:
            self._tokens = output


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
