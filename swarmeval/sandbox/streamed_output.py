"""Runs a program that streams results, in addition to its outcome.

Meant for our own programs that run foreign code in the same process. The foreign code can forge the stream, so its
reader must not trust it.
"""

import os
from collections.abc import Iterator

from swarmeval.sandbox.execution import execute

ENDS = b"\0"  # precedes the program's own outcome
STREAM_FUNCTION = "stream"  # the program's function, called with the data and a write function


def serve(program: str, data: str, channel: int) -> Iterator[bytes]:
    """Run a program, then its function `stream(data, write)`; yield ENDS and the outcome."""
    write = os.write

    def whole(text: bytes) -> None:
        while text:
            text = text[write(channel, text) :]

    yield ENDS + execute(program, lambda names: names[STREAM_FUNCTION](data, whole))
