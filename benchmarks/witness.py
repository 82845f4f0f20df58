"""A proxy between clients and `main.py serve` that times the traffic independently. `python witness.py PORT FILE`.

Shares no code with either side and makes few assumptions: a request starts with data that begins with POST, a piece is
an event with non-empty content, the last token count in an answer is valid, and [DONE] ends the answer.
"""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PIECE = re.compile(rb'"content":"(?!")')
COUNT = re.compile(rb'"completion_tokens":(\d+)')
OVERLAP = 64  # bytes kept from the previous read, since a match may be split across two


@dataclass(frozen=True, slots=True)
class ObservedTimes:
    """Times of one forwarded answer."""

    ttft_s: float
    tpot_s: float
    latency_s: float


@contextmanager
def witness(url: str) -> Iterator[tuple[str, Callable[[], Sequence[ObservedTimes]]]]:
    """Start the proxy process for the server at this URL; yield the proxy's URL and a getter of the times so far."""
    port = url.removesuffix("/v1").rpartition(":")[2]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "seen.jsonl")
        file.touch()
        arguments = [sys.executable, __file__, port, str(file)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            own_port = process.stdout.readline().strip()
            try:
                yield (
                    f"http://127.0.0.1:{own_port}/v1",
                    lambda: [
                        ObservedTimes(*json.loads(line)) for line in file.read_text(encoding="ascii").splitlines()
                    ],
                )
            finally:
                process.terminate()


class ObservedAnswer:
    """Times one answer while it is forwarded."""

    def __init__(self, requested_at: float) -> None:
        self._requested_at = requested_at
        self._first_at = self._last_at = 0.0
        self._tokens = 0
        self._tail = b""

    def take(self, data: bytes, now: float) -> ObservedTimes | None:
        """Note forwarded data; return the times once the answer has ended, otherwise None."""
        seen_before, text = len(self._tail), self._tail + data
        if any(match.end() > seen_before for match in PIECE.finditer(text)):
            self._first_at = self._first_at or now
            self._last_at = now
        for match in COUNT.finditer(text):
            self._tokens = int(match[1])
        self._tail = text[-OVERLAP:]
        if b"[DONE]" not in text or self._tokens < 2:
            return None
        tpot_s = (self._last_at - self._first_at) / (self._tokens - 1)
        return ObservedTimes(self._first_at - self._requested_at, tpot_s, self._last_at - self._requested_at)


async def watch(port: int, file: Path) -> None:
    """Forward everything between clients and the server at `port`, forever. Prints its own port."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
        answer: ObservedAnswer | None = None

        async def forward_requests() -> None:
            nonlocal answer
            while data := await reader.read(1 << 16):
                if data.startswith(b"POST "):
                    answer = ObservedAnswer(time.perf_counter())
                to_server.write(data)

        async def forward_answers() -> None:
            nonlocal answer
            while data := await from_server.read(1 << 16):
                now = time.perf_counter()
                writer.write(data)
                if answer is not None and (seen := answer.take(data, now)):
                    answer = None
                    with file.open("a", encoding="ascii") as lines:
                        lines.write(json.dumps([seen.ttft_s, seen.tpot_s, seen.latency_s]) + "\n")

        ways = [asyncio.create_task(forward_requests()), asyncio.create_task(forward_answers())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)  # the end of one side ends the other
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for side in (to_server, writer):
            with contextlib.suppress(ConnectionError):  # that side has already hung up
                side.close()
                await side.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(watch(int(sys.argv[1]), Path(sys.argv[2])))
