"""Spans of a traced run: as its processes write them, each into a file of its own, and as they are read back.

A line is a span on a lane of its process, in microseconds since its session began; what it says besides is its own.
"""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from swarmeval.errors import OutputError

MIB = 1 << 20
NEEDED = {"session": int, "lane": str, "name": str, "start_us": int | float, "end_us": int | float}

log = logging.getLogger("swarmeval")


class SpanFile:
    """Appends spans; a write that fails (full disk) is logged and the last one that is tried."""

    def __init__(self, path: Path, session: int, origin_ns: int) -> None:
        """Times are those of time.perf_counter_ns(), which all processes of a machine share."""
        self._path = path
        self._session = session
        self._origin_ns = origin_ns
        self._lines: list[str] = ["\n"]  # the last line of a process that was killed may have no end
        self._failed = False

    def add(self, lane: str, name: str, start_ns: int, end_ns: int, **facts: float) -> None:
        start_us, end_us = (round((at_ns - self._origin_ns) / 1000, 1) for at_ns in (start_ns, end_ns))
        line = {"session": self._session, "lane": lane, "name": name, "start_us": start_us, "end_us": end_us, **facts}
        self._lines.append(json.dumps(line) + "\n")

    def flush(self) -> None:
        lines, self._lines = self._lines, []
        if self._failed or not lines:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(lines))
        except OSError as error:
            self._failed = True
            log.warning("%s: the trace ends here, the run goes on (%s)", self._path, error.strerror)


def file_name(track: str) -> str:
    """A process as part of a file's name: "cpu:0" as "cpu_0"."""
    return "".join(letter if letter.isalnum() else "_" for letter in track)


def spans_path(folder: Path, track: str) -> Path:
    return folder / f"trace_{file_name(track)}.jsonl"


def span_files(folder: Path) -> list[Path]:
    """Of every process of a traced run."""
    return sorted(folder.glob("trace_*.jsonl"))


def spans(path: Path) -> Iterator[dict[str, Any]]:
    """What a file holds, line by line; torn and foreign lines left out. Raises OutputError when it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    span = msgspec.json.decode(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(span, dict) and all(isinstance(span.get(key), kind) for key, kind in NEEDED.items()):
                    yield span
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from None


def rss_mb() -> float:
    """The memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / MIB, 1)
