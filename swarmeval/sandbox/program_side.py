"""The program's side of judging: define the function, then answer the tests' calls with plain data.

All of this happens in the program's own process, so everything it sends is treated as mere data.
"""

import sys
from typing import Any

from swarmeval.sandbox import plain_data
from swarmeval.sandbox.evidence import place
from swarmeval.sandbox.execution import Silence, execute
from swarmeval.sandbox.line_channel import Lines

MOST_PRINTED = 1 << 20  # characters that one call prints and its tests see


class Printed(Silence):
    """Standard output that the tests of a function can read: what one call prints, up to MOST_PRINTED."""

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
        """Return the text printed since the last call of this method."""
        text, self.pieces, self._left = "".join(self.pieces), [], MOST_PRINTED
        return text


def serve(program: str, entry_point: str, peer: int) -> bytes:
    """Answer calls until the tests hang up; return an outcome. PASSED means only that the function was defined."""

    def answer(names: dict[str, Any]) -> None:
        if entry_point not in names:
            raise NameError(f"name {entry_point!r} is not defined")
        function, lines = names[entry_point], Lines(peer)
        printed = sys.stdout = Printed()
        while (line := lines.receive()) is not None:
            arguments, keywords = plain_data.loads(line)
            lines.send(call(function, arguments, keywords, program, printed))

    return execute(program, answer)


def call(
    function: Any, arguments: list[Any], keywords: dict[str, Any], program: str = "", printed: Printed | None = None
) -> str:
    """Call the function; return its value or exception as a JSON object.

    The object also holds the arguments, if the call changed them, and the text that the call printed.
    """
    before = plain_data.dumps([arguments, keywords])
    try:
        answer = f'"value": {plain_data.dumps(function(*arguments, **keywords))}'
    except MemoryError:
        raise
    except BaseException as error:  # noqa: BLE001 (the tests receive it)
        answer = f'"raised": {plain_data.dumps([type(error).__name__, str(error), own_line(error, program)])}'
    after = plain_data.dumps([arguments, keywords])
    if after != before:
        answer += f', "arguments": {after}'
    if printed is not None and (text := printed.taken()):
        answer += f', "printed": {plain_data.dumps(text)}'
    return f"{{{answer}}}"


def own_line(error: BaseException, program: str) -> str:
    """The line of the program that raised, as a detail shows it; "" if there is none."""
    line = place(error)[1]
    lines = program.splitlines()
    return f"line {line}: {lines[line - 1].strip()}" if 0 < line <= len(lines) else ""
