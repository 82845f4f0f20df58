"""The program's side of a confirmation: define its function, then answer calls with plain data.

All of this happens in the program's own process: nothing it sends is believed to be more than data.
"""

from typing import Any

from swarmeval.sandbox import plain_data
from swarmeval.sandbox.execution import execute
from swarmeval.sandbox.line_channel import Lines


def serve(program: str, entry_point: str, peer: int) -> bytes:
    """Answer until the tests hang up; gives how it ended: PASSED says only that the program defined what it should."""

    def answer(names: dict[str, Any]) -> None:
        function, lines = names[entry_point], Lines(peer)
        while (line := lines.receive()) is not None:
            arguments, keywords = plain_data.loads(line)
            lines.send(call(function, arguments, keywords))

    return execute(program, answer)


def call(function: Any, arguments: list[Any], keywords: dict[str, Any]) -> str:
    """What a call gave or raised, and what it made of its arguments where that is not what they were: a JSON object."""
    before = plain_data.dumps([arguments, keywords])
    try:
        result = f'"value": {plain_data.dumps(function(*arguments, **keywords))}'
    except MemoryError:
        raise
    except BaseException as error:  # noqa: BLE001 (it is the tests' to bear)
        result = f'"raised": {plain_data.dumps([type(error).__name__, str(error)])}'
    after = plain_data.dumps([arguments, keywords])
    return f'{{{result}, "arguments": {after if after != before else "null"}}}'
