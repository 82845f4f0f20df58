"""The child that runs a program which streams results of its own, in addition to its outcome.

For our own programs that run code of others in the same process. That code can forge the streamed results. The author
of the program must read them with this in mind.
"""

import os
from collections.abc import Iterator

from swarmeval.sandbox.execution import execute

ENDS = b"\0"  # precedes the outcome of the program itself
STREAM_FUNCTION = "stream"  # the program's function that receives the data and a function that writes


def serve(program: str, data: str, channel: int) -> Iterator[bytes]:
    """Run a program, then its function `stream(data, write)`; yield ENDS and the outcome."""
    write = os.write

    def whole(text: bytes) -> None:
        while text:
            text = text[write(channel, text) :]

    yield ENDS + execute(program, lambda names: names[STREAM_FUNCTION](data, whole))
