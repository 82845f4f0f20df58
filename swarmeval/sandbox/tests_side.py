"""The tests' side of judging: runs tests out of the program's reach, on a proxy function that exchanges messages.

The program's answers are plain data, so none of its code runs here, not even comparisons or iterators. One process can
therefore test many programs, as long as the tests do not change its interpreter.
"""

import builtins
import json
import os
import random
import socket
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any

from swarmeval.sandbox import plain_data
from swarmeval.sandbox.evidence import evidence
from swarmeval.sandbox.execution import DETAIL_CHARS, compiled, execute
from swarmeval.sandbox.frames import read_frame, write_bytes
from swarmeval.sandbox.interpreter_state import InterpreterState
from swarmeval.sandbox.line_channel import Lines

REPORT_BYTES = 1 << 12
SEED = 0
LOST = b"LOST\n"  # instead of an outcome: the program's process ended before it answered
GARBLED = b"GARBLED\n"  # instead of an outcome: the program sent an invalid answer
UNSENDABLE = b"UNSENDABLE\n"  # instead of an outcome: the tests need more than plain data
REUSABLE, SPENT = b"+", b"-"  # prefix of a report: whether this process can run other tests
# `all(map(...))` would take these for the end of its cases and pass. They become RuntimeError, as in PEP 479.
ENDS_OF_LOOPS = ("StopIteration", "StopAsyncIteration")
KNOWN_CHARS = 1 << 18  # limit of the recorded calls; beyond it there is little to guess
MOST_AHEAD_BYTES = 1 << 28  # limit of the answers to all known calls
KEPT_CODES = 8  # compiled texts: the tests, and other names that they use, of four tasks
KEPT_CALLS, KEPT_BYTES = 4, 1 << 22  # answers kept as evidence for a failed assertion


class NoAnswer(BaseException):
    """The program's process ended. A BaseException, so that tests do not catch it by accident."""


class Garbled(BaseException):
    """The program's process sent an invalid answer."""


class Unsendable(BaseException):
    """A test passes values other than plain data, and none of them can come from the program."""


class RemoteFunction:
    """A proxy for the function under test."""

    def __init__(self, lines: Lines, known_calls: Sequence[str] = ()) -> None:
        """`known_calls`: the calls that the tests are expected to make, in this order."""
        self._lines = lines
        self._ahead = deque(known_calls)  # made before the tests started; _answers has their answers
        self._answers: deque[bytes] = deque()
        self._room = KNOWN_CHARS
        self.asked: list[str] = []  # calls of the tests, until _room is used up
        self._calls: deque[tuple[str, bytes]] = deque(maxlen=KEPT_CALLS)  # the last calls and their answers
        self._was_called = False
        self._replays = False
        self.has_written = False  # to an argument, which may belong to a module that other tests use
        self.raised: BaseException | None = None  # exception of the last call
        self.raised_detail = ""  # its description in a report

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        text = plain_data.dumps([list(arguments), keywords])
        if plain_data.holds_opaque(text):
            reason = f"the tests pass an argument that is not plain data: {text[:200]}"
            # After the first call the argument may be a value that the program returned: an ordinary error.
            raise TypeError(reason) if self._was_called else Unsendable(reason)
        line = self._replayed(text) if self._replays else self._asked(text)
        self._was_called = True
        try:
            answer = plain_data.load_fields(line, ("value", "raised", "arguments", "printed"))
        except plain_data.Malformed as error:
            raise Garbled(f"its answer is not valid data: {error}") from None
        if answer.get("arguments") is not None:
            self._put_back([list(arguments), keywords], answer["arguments"])
        if isinstance(printed := answer.get("printed"), str) and not self._replays:
            sys.stdout.write(printed)
        if "raised" in answer:
            raise self._error(answer["raised"])
        return answer.get("value")

    def replay(self) -> None:
        """Answer further calls from memory, with the last answers."""
        self._replays = True

    def ask_ahead(self) -> None:
        """Make all known calls without reading the answers, so that an answer cannot influence the next call."""
        left = MOST_AHEAD_BYTES
        for text in self._ahead:
            line = self._exchange(text)
            left -= len(line or b"")
            if line is None or left < 0:
                return
            self._answers.append(line)

    def _exchange(self, text: str) -> bytes | None:
        """Send a call; return the program's answer, or None if it sends no answer."""
        try:
            self._lines.send(text)
            return self._lines.receive()
        except OSError:
            return None

    def _asked(self, text: str) -> bytes:
        """The answer to a call: in advance if the call was expected, otherwise from the program now."""
        self._room -= len(text)
        if self._room >= 0:
            self.asked.append(text)
        if self._ahead and self._ahead.popleft() == text:
            line = self._answers.popleft() if self._answers else None
        else:
            self._ahead.clear()
            line = self._exchange(text)
        if line is None:
            raise NoAnswer("its process ended")
        if len(line) <= KEPT_BYTES:
            self._calls.append((text, line))
        return line

    def _replayed(self, text: str) -> bytes:
        return next(line for known, line in reversed(self._calls) if known == text)

    def _put_back(self, sent: list[Any], left: Any) -> None:
        """Apply the changes that the call made to its arguments."""
        self.has_written = True
        try:
            for target, value in zip(sent[0], left[0], strict=True):
                plain_data.put_back(target, value)
            for name, target in sent[1].items():
                plain_data.put_back(target, left[1][name])
        except (ValueError, TypeError, LookupError) as error:
            raise Garbled(f"it returned different arguments: {error}") from None

    def _error(self, raised: Any) -> BaseException:
        """The exception of a call, as a built-in type."""
        is_whole = isinstance(raised, list) and len(raised) == 3 and all(isinstance(part, str) for part in raised)
        name, message, line = raised if is_whole else ("Exception", "", "")
        detail = f"{name}: {message[:DETAIL_CHARS]}".removesuffix(": ") + (f" ({line})" if line else "")
        self.raised_detail = " ".join(detail.split())[:DETAIL_CHARS]
        kind = RuntimeError if name in ENDS_OF_LOOPS else Exception
        self.raised = _builtin_error(name, message) or kind(f"{name}: {message}")
        return self.raised


def _builtin_error(name: str, message: str) -> BaseException | None:
    kind = getattr(builtins, name, None)
    if name in ENDS_OF_LOOPS or not (isinstance(kind, type) and issubclass(kind, BaseException)):
        return None
    try:
        return kind(message)
    except TypeError:  # a type with other parameters than a message
        return None


def serve(channel: int) -> Iterator[bytes]:
    """Judge what the channel asks for, until its other end closes: {"context", "tests", "entry_point", "calls"}, and
    beside it a descriptor that leads to the program. Each answer is a report (see judge), behind REUSABLE or SPENT;
    where "calls" is None, it is followed by the calls that there were.
    """
    random.seed(SEED)  # tests ask each program the same
    state = InterpreterState()
    with socket.socket(fileno=channel) as link:
        while (message := read_frame(link)) is not None:
            work, (peer,) = message
            report, function = judge(**work, peer=peer)
            os.close(peer)
            is_clean = report.startswith((b"PASSED", b"WRONG_ANSWER", b"RAISED")) and not function.has_written
            word = REUSABLE if is_clean and state.is_unchanged() else SPENT
            write_bytes(link, word + report[: REPORT_BYTES - 1])
            if work["calls"] is None:
                write_bytes(link, json.dumps(function.asked).encode())
    yield from ()


@lru_cache(KEPT_CODES)
def code_of(text: str) -> CodeType:
    """Compile the tests of a task once for its programs, which mostly come one after another."""
    return compiled(text)


def judge(
    context: str, tests: str, entry_point: str, calls: Sequence[str] | None, peer: int
) -> tuple[bytes, RemoteFunction]:
    """Run the tests with the names that `context` defines; return the report (see reported) and the proxy function.

    `calls`: the calls that the tests are expected to make; None records them.
    """
    function = RemoteFunction(Lines(peer), calls or ())
    ended: list[BaseException] = []

    def check(names: dict[str, Any]) -> None:
        names[entry_point] = function
        try:
            function.ask_ahead()
            exec(code_of(tests), names)  # keeps the line numbers of the report
        except BaseException as error:
            ended.append(error)
            raise

    report = execute(context, check, tests, code_of=code_of)
    return reported(report, ended[0] if ended else None, function, tests), function


def reported(report: bytes, error: BaseException | None, function: RemoteFunction, tests: str) -> bytes:
    """The outcome with the evidence of a failed assertion, or one of LOST, GARBLED, UNSENDABLE and a reason."""
    for kind, word in ((NoAnswer, LOST), (Garbled, GARBLED), (Unsendable, UNSENDABLE)):
        if isinstance(error, kind):
            return word + str(error).encode(errors="backslashreplace")
    if error is None or report.startswith(b"OUT_OF_MEMORY"):
        return report
    if error is function.raised:
        return report.partition(b"\n")[0] + b"\n" + function.raised_detail.encode(errors="backslashreplace")
    if isinstance(error, AssertionError):
        function.replay()
        return report + b"\n" + evidence(error, tests)
    return report
