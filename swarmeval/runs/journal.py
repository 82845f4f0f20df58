"""The append-only journal of a run: one JSON line per event, in chronological order.

All other results of a run are derived from it. The journal records events; the ledger interprets them.
"""

import contextlib
import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from swarmeval.errors import OutputError
from swarmeval.files import cannot_write
from swarmeval.records import Completion, Failure, Outcome, Verdict

NAME = "journal.jsonl"
RECENT_BYTES = 1 << 25  # takes 0.2 s to read


class SessionStart(msgspec.Struct, frozen=True):
    """Generation started or resumed. The elapsed_s of later entries counts from here."""

    started_at: float


class PrefixVerdicts(msgspec.Struct, frozen=True):
    """The outcomes of one reply's prefixes, as if limits on tokens had cut it there."""

    job_id: str
    outcomes: tuple[tuple[int, Outcome], ...]  # (tokens, outcome)


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the journal. Exactly one field is set, and its name is the line's only key."""

    session: SessionStart | None = None
    completion: Completion | None = None
    failure: Failure | None = None
    verdict: Verdict | None = None
    prefixes: PrefixVerdicts | None = None


_decoder = msgspec.json.Decoder(Entry)
_encoder = msgspec.json.Encoder()


class Journal:
    """A journal open for appending. Every append reaches the operating system before it returns."""

    def __init__(self, folder: Path, name: str = NAME) -> None:
        """Open or create the journal and remove a torn last line. Raises OutputError."""
        self.path = folder / name
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self._end = _sound_length(self.path)
            os.ftruncate(self._fd, self._end)
        except OSError as error:
            raise cannot_write(self.path, error) from None

    @property
    def length(self) -> int:
        """Length of all complete lines, in bytes."""
        return self._end

    def append(self, entry: Entry) -> None:
        """Add a line. If the disk is full, remove the partial line and raise OutputError."""
        line = _encoder.encode(entry) + b"\n"
        try:
            written = os.write(self._fd, line)
            while written < len(line):
                written += os.write(self._fd, line[written:])
        except OSError as error:
            with contextlib.suppress(OSError):  # if this fails, the next start removes the partial line
                os.ftruncate(self._fd, self._end)
            raise cannot_write(self.path, error) from None
        self._end += len(line)

    def sync(self) -> None:
        """Flush the journal to disk. May be slow, so call it from a thread. Raises OutputError."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise cannot_write(self.path, error) from None

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def entries(path: Path, start: int = 0) -> Iterator[tuple[int, Entry]]:
    """Yield (byte offset, entry) for every line from `start` on, holding one line at a time.

    Stops at a last line without a newline, which is torn or still being written. Raises OutputError for bad lines.
    """
    offset = start
    with _opened(path) as file:
        file.seek(start)
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield offset, _decoder.decode(line)
            except (msgspec.DecodeError, RecursionError) as error:
                place = f"byte {offset}" if start else f"line {number}"
                raise OutputError(f"{path}, {place}: not a journal line ({error}); start over with --fresh") from None
            offset += len(line)


def recent_verdicts(path: Path, most_bytes: int = RECENT_BYTES) -> Iterator[Verdict]:
    """Yield the verdicts in about the last `most_bytes` of a journal. Raises OutputError for bad lines."""
    start = 0
    with _opened(path) as file:
        if (skipped := file.seek(0, os.SEEK_END) - most_bytes) > 0:
            file.seek(skipped)
            file.readline()  # the rest of a line
            start = file.tell()
    yield from (entry.verdict for _, entry in entries(path, start) if entry.verdict is not None)


class JournalReader:
    """Reads entries of a journal by byte offset."""

    def __init__(self, path: Path) -> None:
        self._file = _opened(path)

    def entry(self, offset: int) -> Entry:
        self._file.seek(offset)
        return _decoder.decode(self._file.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _opened(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror}); was it moved during the run?") from None


def _sound_length(path: Path) -> int:
    """Length in bytes up to the end of the last complete line. A crash can tear only the last line."""
    size = path.stat().st_size
    start, last = _last_line(path, size)
    if not last.endswith(b"\n"):
        return start
    try:
        _decoder.decode(last)
    except (msgspec.DecodeError, RecursionError):
        return start
    return size


def _last_line(path: Path, size: int) -> tuple[int, bytes]:
    """(offset, bytes) of the last line, complete or torn. Reads backwards in growing pieces."""
    reach = 1 << 16
    with path.open("rb") as file:
        while True:
            begin = max(0, size - reach)
            file.seek(begin)
            tail = file.read(size - begin)
            cut = tail.rfind(b"\n", 0, len(tail) - 1)
            if cut >= 0:
                return begin + cut + 1, tail[cut + 1 :]
            if begin == 0:
                return 0, tail or b"\n"
            reach *= 4
