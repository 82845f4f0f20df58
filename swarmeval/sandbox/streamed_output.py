"""A program that streams its results, as the child that runs it: more than one outcome, less than trust.

For programs of our own that run what others wrote in the same process; what they stream can be forged by that, and is
read by who wrote the program.
"""

import os
from collections.abc import Iterator

from swarmeval.sandbox.execution import execute

ENDS = b"\0"  # behind it stands how the program itself ended
STREAM_FUNCTION = "stream"  # the function of the program that is called with the data and with what writes


def serve(program: str, data: str, channel: int) -> Iterator[bytes]:
    """Run a program, then its function `stream(data, write)`; give ENDS and the outcome."""
    write = os.write

    def whole(text: bytes) -> None:
        while text:
            text = text[write(channel, text) :]

    yield ENDS + execute(program, lambda names: names[STREAM_FUNCTION](data, whole))
