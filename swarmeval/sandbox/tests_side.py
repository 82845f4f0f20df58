"""The tests' side of a judging: run them where the program cannot reach, on a function that only passes messages.

What comes back is plain data; nothing the program made is ever called, compared by its own rules or walked through. So
one process may ask one program after another, as long as the tests leave the interpreter as they found it.
"""

import builtins
import os
import socket
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

from swarmeval.sandbox import plain_data
from swarmeval.sandbox.evidence import evidence
from swarmeval.sandbox.execution import DETAIL_CHARS, execute
from swarmeval.sandbox.frames import read_frame, write_bytes
from swarmeval.sandbox.interpreter_state import InterpreterState
from swarmeval.sandbox.line_channel import Lines

REPORT_BYTES = 1 << 12
LOST = b"LOST\n"  # in place of an outcome: the program's process ended before it answered
GARBLED = b"GARBLED\n"  # in place of an outcome: what it answered is no answer
UNSENDABLE = b"UNSENDABLE\n"  # in place of an outcome: the tests need more than plain data
REUSABLE, SPENT = b"+", b"-"  # before a report: whether this process may run other tests
KEPT_CALLS, KEPT_BYTES = 4, 1 << 22  # of answers, for the evidence of a failed assertion


class NoAnswer(BaseException):
    """The program's process ended. No test can catch it by accident."""


class Garbled(BaseException):
    """The program's process said what is no answer."""


class Unsendable(BaseException):
    """A test calls the function with what is no plain data, before any value of the program can have a part in it."""


class RemoteFunction:
    """The function under test, as its tests see it."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._calls: deque[tuple[str, bytes]] = deque(maxlen=KEPT_CALLS)  # the last ones and their answers
        self._was_called = False
        self._replays = False
        self.raised: BaseException | None = None  # by the last call
        self.raised_detail = ""  # what a report says of it

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        text = plain_data.dumps([list(arguments), keywords])
        if plain_data.holds_opaque(text):
            reason = f"its tests call it with what is no plain data: {text[:200]}"
            # A program could bring this about with a value that it returned before: then it is an error like others.
            raise TypeError(reason) if self._was_called else Unsendable(reason)
        line = self._replayed(text) if self._replays else self._asked(text)
        self._was_called = True
        try:
            answer = plain_data.load_fields(line, ("value", "raised", "arguments", "printed"))
        except plain_data.Malformed as error:
            raise Garbled(f"it answered what is no data: {error}") from None
        if answer.get("arguments") is not None:
            self._put_back([list(arguments), keywords], answer["arguments"])
        if isinstance(printed := answer.get("printed"), str) and not self._replays:
            sys.stdout.write(printed)
        if "raised" in answer:
            raise self._error(answer["raised"])
        return answer.get("value")

    def replay(self) -> None:
        """Answer from memory from now on: what the last calls gave."""
        self._replays = True

    def _asked(self, text: str) -> bytes:
        try:
            self._lines.send(text)
            line = self._lines.receive()
        except OSError:
            line = None
        if line is None:
            raise NoAnswer("its process ended")
        if len(line) <= KEPT_BYTES:
            self._calls.append((text, line))
        return line

    def _replayed(self, text: str) -> bytes:
        return next(line for known, line in reversed(self._calls) if known == text)

    def _put_back(self, sent: list[Any], left: Any) -> None:
        """Let the tests see what the call made of its arguments."""
        try:
            for target, value in zip(sent[0], left[0], strict=True):
                plain_data.put_back(target, value)
            for name, target in sent[1].items():
                plain_data.put_back(target, left[1][name])
        except (ValueError, TypeError, LookupError) as error:
            raise Garbled(f"it gave back other arguments: {error}") from None

    def _error(self, raised: Any) -> BaseException:
        """The exception of a call, of Python's own types only."""
        is_whole = isinstance(raised, list) and len(raised) == 3 and all(isinstance(part, str) for part in raised)
        name, message, line = raised if is_whole else ("Exception", "", "")
        detail = f"{name}: {message[:DETAIL_CHARS]}".removesuffix(": ") + (f" ({line})" if line else "")
        self.raised_detail = " ".join(detail.split())[:DETAIL_CHARS]
        self.raised = _builtin_error(name, message) or Exception(f"{name}: {message}")
        return self.raised


def _builtin_error(name: str, message: str) -> BaseException | None:
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        return None
    try:
        return kind(message)
    except TypeError:  # one that takes more than a text
        return None


def serve(channel: int) -> Iterator[bytes]:
    """Judge what the channel asks for, until its other end closes: {"context", "tests", "entry_point"}, and beside it
    a descriptor that leads to the program. Each answer is a report (see judge), behind REUSABLE or SPENT.
    """
    state = InterpreterState()
    with socket.socket(fileno=channel) as link:
        while (message := read_frame(link)) is not None:
            work, (peer,) = message
            report = judge(**work, peer=peer)
            os.close(peer)
            ended_well = report.startswith((b"PASSED", b"WRONG_ANSWER", b"RAISED"))
            word = REUSABLE if ended_well and state.is_unchanged() else SPENT
            write_bytes(link, word + report[: REPORT_BYTES - 1])
    yield from ()


def judge(context: str, tests: str, entry_point: str, peer: int) -> bytes:
    """Run the tests, which may use the names that `context` defines; gives the outcome and what a failed assertion
    compared, or one of LOST, GARBLED, UNSENDABLE and a reason.
    """
    function = RemoteFunction(Lines(peer))
    ended: list[BaseException] = []

    def check(names: dict[str, Any]) -> None:
        names[entry_point] = function
        try:
            exec(compile(tests, "<string>", "exec", dont_inherit=True), names)  # its lines are those of the report
        except BaseException as error:
            ended.append(error)
            raise

    report = execute(context, check, tests)
    error = ended[0] if ended else None
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
