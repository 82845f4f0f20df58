"""The program's side of judging: runs the program, then answers the tests' calls of its function with plain data.

This code runs in the program's own process, so the tests' side treats everything it sends as untrusted data.
"""

import sys
from typing import Any

from swarmeval.sandbox import plain_data
from swarmeval.sandbox.evidence import place
from swarmeval.sandbox.execution import Silence, execute
from swarmeval.sandbox.line_channel import Lines

MOST_PRINTED = 1 << 20  # characters per call that the tests can see


class Printed(Silence):
    """Standard output that records the text printed by a call, up to a limit, for the tests."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._left = MOST_PRINTED

    def write(self, text: str, /) -> int:
        length = super().write(text)
        if self._left > 0:
            self.pieces.append(text[: self._left])
            self._left -= length
        return length

    def taken(self) -> str:
        """Return the text printed since the last take."""
        text, self.pieces, self._left = "".join(self.pieces), [], MOST_PRINTED
        return text


def serve(program: str, entry_point: str, peer: int) -> bytes:
    """Answer calls until the tests close the channel; return the report. PASSED only means that the function exists."""

    def answer(names: dict[str, Any]) -> None:
        if entry_point not in names:
            raise NameError(f"name {entry_point!r} is not defined")
        function, lines = names[entry_point], Lines(peer)
        printed = sys.stdout = Printed()
        while (line := lines.receive()) is not None:
            lines.send(call(function, line.decode(), program, printed))

    return execute(program, answer)


def call(function: Any, line: str, program: str = "", printed: Printed | None = None) -> str:
    """Call the function with the arguments in a line of the tests.

    Return a JSON object with its value or exception, changed arguments and printed text.
    """
    arguments, keywords = plain_data.loads(line)
    try:
        answer = f'"value": {plain_data.dumps(function(*arguments, **keywords))}'
    except MemoryError:
        raise
    except BaseException as error:  # noqa: BLE001 (re-raised on the tests' side)
        answer = f'"raised": {plain_data.dumps([type(error).__name__, str(error), own_line(error, program)])}'
    after = plain_data.dumps([arguments, keywords])
    if after != line and after != plain_data.dumps(plain_data.loads(line)):
        answer += f', "arguments": {after}'
    if printed is not None and (text := printed.taken()):
        answer += f', "printed": {plain_data.dumps(text)}'
    return f"{{{answer}}}"


def own_line(error: BaseException, program: str) -> str:
    """The line of the program that raised, for the detail of a verdict; "" if unknown."""
    line = place(error)[1]
    lines = program.splitlines()
    return f"line {line}: {lines[line - 1].strip()}" if 0 < line <= len(lines) else ""
