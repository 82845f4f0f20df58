"""A worker's output as whole lines without secrets, including a secret that is split across two reads."""

import asyncio
from collections.abc import AsyncIterator

from swarmeval.secrets import scrub

READ = 1 << 16  # bytes per read
MAX_LINE = 1 << 20  # bytes after which an unfinished line is yielded


async def printed_lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yield every non-empty line until the worker closes its output. A progress bar's \\r ends a line."""
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
