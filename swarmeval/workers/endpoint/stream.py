"""Incremental reader of a server's response: answers, times of their pieces, finish reasons. Does no networking.

An incomplete stream is a ServerFault, even if it contains most of an answer. A response that does not start like an
event stream is read as one JSON object, regardless of its content type.
"""

from collections.abc import Callable, Sequence

from swarmeval.requests import Thinking
from swarmeval.secrets import scrub
from swarmeval.surrogates import note, without_lone
from swarmeval.thinking import ends_within, separated
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

MAX_LINE, MAX_TEXT = 4 << 20, 16 << 20  # limits on the bytes of an event and the characters of an answer
MOST_PER_EVENT = 32  # tokens; more than speculative decoding accepts at once
MARK_AND_SPACE = b"\xef\xbb\xbf \t\r\n"  # byte order mark and white space before a response


class PartialAnswer:
    """One growing answer. Times are those passed to the reader with the bytes."""

    def __init__(self, stops: Sequence[str], hide: Callable[[str], str]) -> None:
        self.text = ""
        self.thought = ""
        self.thought_tokens: int | None = None  # as reported by the server
        self.pieces = 0  # non-empty ones, including reasoning
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.finish: str | None = None  # "": ended without a reason
        self.tokens: int | None = None  # as reported by the server
        self.cut = False  # cut at a stop string that the server did not get or ignored
        self._hide = hide
        self._stops = stops
        self._overlap = max(map(len, stops), default=1) - 1
        self._reason: str | None = None  # the latest finish reason
        self._went_on = False  # text followed a finish reason: the answer ends only with the stream
        self._counted = (0, 0)  # tokens and characters at the latest count along the stream
        self._marks: list[tuple[int, int]] | None = []  # the same at powers of 2; None: the server counts too rarely

    def add(self, choice: AnswerChoice, now: float) -> None:
        """Take a part of the answer. Raises ServerFault if the answer gets too long."""
        if self.cut:
            return
        delta = choice.delta or choice.message or Delta()
        new = (delta.content if choice.text is None else choice.text) or ""
        if choice.delta is None and choice.message is not None:  # a final event may repeat the whole answer
            new = new.removeprefix(self.text)
        thought = delta.thought
        if choice.delta is None and choice.message is not None:
            thought = thought.removeprefix(self.thought)
        if new or thought:
            self.pieces += 1
            self.first_at = self.first_at or now
            self.last_at = now
            self.thought += thought
        if new:
            self._append(new)
        if not self.cut and len(self.text) + len(self.thought) > MAX_TEXT:
            raise ServerFault(f"sent an answer of more than {MAX_TEXT >> 20} million characters")
        if choice.finish_reason is None:
            self._reason = self._reason or None  # an empty reason counts only in the last event
        elif not self.cut:
            self._reason = ending(choice.finish_reason, self._hide)
            if self._reason and not self._went_on:
                self.finish = self._reason
            self.first_at = self.first_at or now
            self.last_at = self.last_at or now

    def count_so_far(self, tokens: int) -> None:
        """Note that this many tokens make up the text so far. A server that counts too rarely is not believed."""
        before, characters = self._counted
        if self._marks is None or not before <= tokens <= before + MOST_PER_EVENT:
            self._marks = None
        elif not self.cut:
            while (power := 1 << len(self._marks)) <= tokens:
                self._marks.append((power, len(self.text) if power == tokens else characters))
            self._counted = tokens, len(self.text)

    def marks(self, thought_length: int) -> tuple[tuple[int, int], ...]:
        """(tokens, characters of the answer that they completed) at powers of 2, where the server counted along.

        `thought_length`: characters of the text before the answer.
        """
        return tuple((tokens, max(0, characters - thought_length)) for tokens, characters in self._marks or ())

    def settle(self) -> None:
        """Note that the stream ended properly: even an empty reason, or one followed by text, now ends the answer."""
        if self.finish is None:
            self.finish = self._reason

    def final_texts(self, thinking: Thinking | None, prefill: str = "") -> tuple[str, str, str]:
        """(text, thought) in a form that can be saved, and a note on replaced characters.

        A thought within the text, or begun by the prefill, is separated if `thinking` says how it is marked.
        """
        text, replaced = without_lone(self.text)
        thought, replaced_too = without_lone(self.thought)
        if thinking is not None and not thought:
            thought, text = separated(text, thinking, ends_within(prefill, thinking) or None)
        return text, thought, note(replaced + replaced_too)

    def tokens_of(self, thought: str) -> int | None:
        """The server's count of the tokens of this thought; None if it has none.

        vLLM 0.32 says 0 for a thought that the chat template began.
        """
        return self.thought_tokens or (None if thought else 0)

    def _append(self, new: str) -> None:
        """Append text and cut it at a stop string."""
        if self._reason:
            self._went_on, self.finish = True, None
        start = max(0, len(self.text) - self._overlap)
        self.text += new
        places = [place for stop in self._stops if (place := self.text.find(stop, start)) >= 0]
        if places:
            self.text, self.cut, self.finish = self.text[: min(places)], True, "stop"


class StreamReader:
    """Reads the answers of one response from its bytes."""

    def __init__(self, count: int, stops: Sequence[str], hide: Callable[[str], str] = scrub) -> None:
        """`hide` removes secrets from the server's texts."""
        self.answers = [PartialAnswer(stops, hide) for _ in range(count)]
        self.prompt_tokens: int | None = None
        self.done = False  # the server sent its end mark, or all answers are complete
        self._hide = hide
        self._tokens: int | None = None  # sum over all answers
        self._rest = b""
        self._streams = False  # the response is an event stream
        self._held: list[bytes] = []  # data lines of an event that spans several lines
        self._held_bytes = 0
        self._event_name = b""
        self._aside = ""  # the latest non-JSON text: a keep-alive, or the reason why the stream ended

    def feed(self, data: bytes, now: float) -> None:
        """Read more bytes. Raises ServerFault for invalid data, ServerFault or ServerRefused for a reported error."""
        data = self._rest + data
        if not self._streams:
            data = data.lstrip(MARK_AND_SPACE)
            self._streams = data[:1] not in (b"", b"{", b"[")
            if not self._streams:
                self._rest = data
                if len(data) > MAX_TEXT:
                    raise ServerFault(f"sent a response of more than {MAX_TEXT >> 20} MiB")
                return
        lines = data.splitlines(keepends=True)  # at \n, \r\n and \r
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        if len(self._rest) > MAX_LINE:
            raise ServerFault(f"sent an invalid response (a line of more than {MAX_LINE >> 20} MiB)")
        for line in lines:
            if line != b"\n" or self._held or self._event_name:  # skips blank lines that end no event
                self._line(line, now)

    def end(self, now: float) -> None:
        """Note the end of the response. Raises ServerFault if an answer is incomplete or there is none."""
        rest, self._rest = self._rest, b""
        if self._streams:
            self._line(rest, now)  # the last line may lack its line end
            self._line(b"", now)
        elif rest:
            self._whole(rest, now)
        if self.done:
            for answer in self.answers:
                answer.settle()
        begun = [answer for answer in self.answers if answer.pieces or answer.finish is not None]
        if not begun or any(answer.finish is None for answer in begun):
            place = "in the middle of" if begun else "without"
            raise ServerFault(f"the stream ended {place} an answer" + (f": {self._aside}" if self._aside else ""))

    def finished(self) -> bool:
        return all(answer.finish is not None for answer in self.answers)

    def count(self) -> None:
        """Set each answer's token count. If the server reports only a sum, it is split in proportion to the pieces."""
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
                raise ServerFault(f"sent an invalid response (an event of more than {MAX_LINE >> 20} MiB)")
        elif data == b"[DONE]":
            self.done = True
        elif data[:1] in (b"{", b"["):
            try:
                chunk = decode(data)
            except (ValueError, RecursionError):
                self._held, self._held_bytes = [data], len(data)  # the event may continue on the next line
            else:
                self._take(chunk, data, now)
        elif data:
            self._aside = error_text(data, self._hide)

    def _whole(self, data: bytes, now: float) -> None:
        """Read a response that is not a stream but a single JSON object."""
        chunk = self._decoded(data)
        if chunk.is_error(alone=True):
            raise self._reported(data)
        self._take(chunk, data, now)
        self.done = True

    def _decoded(self, data: bytes) -> Chunk:
        try:
            return decode(data)
        except (ValueError, RecursionError) as error:
            raise ServerFault(f"sent an invalid response ({_first_line(error)})") from None

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
            tokens = token_count(chunk.usage.completion_tokens)
            if len(choices) == 1 and tokens is not None and 0 <= choices[0].index < len(self.answers):
                self.answers[choices[0].index].count_so_far(tokens)
        if any(answer.cut for answer in self.answers) and self.finished():
            self.done = True

    def _reported(self, data: bytes) -> ServerFault | ServerRefused:
        return reported_error(data, any(answer.pieces for answer in self.answers), self._hide)

    def _usage(self, usage: TokenCounts, choices: Sequence[AnswerChoice]) -> None:
        prompt, output = token_count(usage.prompt_tokens), token_count(usage.completion_tokens)
        if usage.completion_tokens_details is not None and len(self.answers) == 1:
            self.answers[0].thought_tokens = token_count(usage.completion_tokens_details.reasoning_tokens)
        if prompt is not None:
            self.prompt_tokens = prompt
        if not output:  # 0 or missing: the number of pieces is used instead
            return
        if len(choices) == 1 and len(self.answers) > 1 and 0 <= choices[0].index < len(self.answers):
            self.answers[choices[0].index].tokens = output
        else:
            self._tokens = output


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
