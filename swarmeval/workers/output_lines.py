"""What a worker prints, as whole lines without secrets: a secret that lies across two reads is hidden too."""

import asyncio
from collections.abc import AsyncIterator

from swarmeval.secrets import scrub

READ = 1 << 16  # bytes at once
MAX_LINE = 1 << 20  # bytes of a line that is still waited for


async def printed_lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Every line that says something, until the worker closes its output. A progress bar's \\r ends a line."""
    rest = b""
    while piece := await stream.read(READ):
        lines = (rest + piece).splitlines(keepends=True)
        whole = lines[-1].endswith((b"\n", b"\r")) or len(lines[-1]) > MAX_LINE
        rest = b"" if whole else lines.pop()
        for line in lines:
            if text := _shown(line):
                yield text
    if text := _shown(rest):
        yield text


def _shown(line: bytes) -> str:
    return scrub(line.decode(errors="replace")).rstrip()
