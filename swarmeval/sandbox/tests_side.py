"""The tests' side of a confirmation: run them where the program cannot reach, on a function that only passes messages.

What comes back is plain data; nothing the program made is ever called, compared by its own rules or walked through. So
one process may ask one program after another, and does until something else comes of it than a pass.
"""

import builtins
import os
import socket
from collections.abc import Iterator
from typing import Any

from swarmeval.sandbox import plain_data
from swarmeval.sandbox.execution import execute
from swarmeval.sandbox.frames import read_frame, write_bytes
from swarmeval.sandbox.line_channel import Lines

REPORT_BYTES = 1 << 12
LOST = b"LOST\n"  # in place of an outcome: the program's process gave no answer


class NoAnswer(BaseException):
    """The program's process ended, or said what is no answer. No test can catch it by accident."""


class Unsendable(BaseException):
    """A test calls the function with what is no plain data."""


class RemoteFunction:
    """The function under test, as its tests see it."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        text = plain_data.dumps([list(arguments), keywords])
        if plain_data.holds_opaque(text):
            raise Unsendable(f"its tests call it with what is no plain data: {text[:200]}")
        try:
            self._lines.send(text)
            line = self._lines.receive()
        except OSError:
            line = None
        if line is None:
            raise NoAnswer("its process ended")
        try:
            answer = plain_data.load_fields(line, ("value", "raised", "arguments"))
        except plain_data.Malformed as error:
            raise NoAnswer(f"it answered what is no data: {error}") from None
        if answer.get("arguments") is not None:
            self._put_back([list(arguments), keywords], answer["arguments"])
        if "raised" in answer:
            raise self._error(answer["raised"])
        return answer.get("value")

    def _put_back(self, sent: list[Any], left: Any) -> None:
        """Let the tests see what the call made of its arguments."""
        try:
            for target, value in zip(sent[0], left[0], strict=True):
                plain_data.put_back(target, value)
            for name, target in sent[1].items():
                plain_data.put_back(target, left[1][name])
        except (ValueError, TypeError, LookupError) as error:
            raise NoAnswer(f"it gave back other arguments: {error}") from None

    def _error(self, raised: Any) -> BaseException:
        """The exception of a call, of Python's own types only."""
        name, message = raised if isinstance(raised, list) and len(raised) == 2 else ("Exception", "")
        kind = getattr(builtins, str(name), None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                return kind(str(message))
            except TypeError:  # one that takes more than a text
                pass
        return Exception(f"{name}: {message}")


def serve(channel: int) -> Iterator[bytes]:
    """Judge what the channel asks for, until its other end closes: {"context", "tests", "entry_point"}, and beside it
    a descriptor that leads to the program. Each answer is a report (see judge).
    """
    with socket.socket(fileno=channel) as link:
        while (message := read_frame(link)) is not None:
            work, (peer,) = message
            report = judge(**work, peer=peer)
            os.close(peer)
            write_bytes(link, report[:REPORT_BYTES])
    yield from ()


def judge(context: str, tests: str, entry_point: str, peer: int) -> bytes:
    """Run the tests, which may use the names that `context` defines; gives the outcome, or LOST and a reason."""
    lost: list[BaseException] = []

    def check(names: dict[str, Any]) -> None:
        names[entry_point] = RemoteFunction(Lines(peer))
        exec(compile(tests, "<string>", "exec", dont_inherit=True), names)  # its lines are those of the report

    def watched(names: dict[str, Any]) -> None:
        try:
            check(names)
        except (NoAnswer, Unsendable) as error:
            lost.append(error)
            raise

    report = execute(context, watched, tests)
    if lost:
        return LOST + str(lost[0]).encode(errors="backslashreplace")
    return report
