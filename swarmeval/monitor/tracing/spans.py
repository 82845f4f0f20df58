"""Reads and writes the spans of a traced run. Every process writes its own file.

One line is one span on a lane of its process, in microseconds since the start of the session. Lines may hold further
values.
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
    """Appends spans to a file. After a failed write (full disk), which is logged, it stops writing."""

    def __init__(self, path: Path, session: int, origin_ns: int) -> None:
        """Times are from time.perf_counter_ns(), which all processes of a machine share."""
        self._path = path
        self._session = session
        self._origin_ns = origin_ns
        self._lines: list[str] = ["\n"]  # a killed process may have left an incomplete line
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
            log.warning("%s: cannot write (%s); the run continues without tracing", self._path, error.strerror)


def file_name(track: str) -> str:
    """The name of a process as part of a file name: "cpu:0" becomes "cpu_0"."""
    return "".join(letter if letter.isalnum() else "_" for letter in track)


def spans_path(folder: Path, track: str) -> Path:
    return folder / f"trace_{file_name(track)}.jsonl"


def span_files(folder: Path) -> list[Path]:
    """The span files of all processes of a traced run."""
    return sorted(folder.glob("trace_*.jsonl"))


def spans(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the spans of a file, skipping torn and invalid lines. Raises OutputError if it cannot be read."""
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
    """Resident memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / MIB, 1)
