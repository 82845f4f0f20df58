"""The append-only journal of a run: one JSON line per event, in the order of their birth.

Everything else a run reports is derived from it. It holds what happened, not what it means (see ledger).
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
from swarmeval.records import Completion, Failure, Verdict

NAME = "journal.jsonl"


class SessionStart(msgspec.Struct, frozen=True):
    """Generation began, or went on after an interruption; elapsed_s of what follows counts from here."""

    started_at: float


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line: exactly one of these is set, and its name is the line's only key."""

    session: SessionStart | None = None
    completion: Completion | None = None
    failure: Failure | None = None
    verdict: Verdict | None = None


_decoder = msgspec.json.Decoder(Entry)
_encoder = msgspec.json.Encoder()


class Journal:
    """The journal open for appending. Every append reaches the operating system before it returns."""

    def __init__(self, folder: Path, name: str = NAME) -> None:
        """Opens or creates the journal and cuts a torn last line off. Raises OutputError."""
        self.path = folder / name
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self._end = _sound_length(self.path)
            os.ftruncate(self._fd, self._end)
        except OSError as error:
            raise cannot_write(self.path, error) from None

    @property
    def length(self) -> int:
        """Bytes of whole lines."""
        return self._end

    def append(self, entry: Entry) -> None:
        """Add a line. On a full disk what was begun is taken back and OutputError raised: the journal stays whole."""
        line = _encoder.encode(entry) + b"\n"
        try:
            written = os.write(self._fd, line)
            while written < len(line):
                written += os.write(self._fd, line[written:])
        except OSError as error:
            with contextlib.suppress(OSError):  # else the next start cuts it off
                os.ftruncate(self._fd, self._end)
            raise cannot_write(self.path, error) from None
        self._end += len(line)

    def sync(self) -> None:
        """Wait until the disk has it (may take long: call from a thread). Raises OutputError."""
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
    """(byte offset, entry) of every line from an offset on; holds one line at a time.

    One without its end is being written, or torn. Raises OutputError for a line that cannot be read.
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
                raise OutputError(f"{path}, {place}: not a journal line ({error}); start anew with --fresh") from None
            offset += len(line)


class JournalReader:
    """Entries of a journal by their byte offset."""

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
        raise OutputError(f"{path}: cannot be read ({error.strerror}); was it moved while the run went on?") from None


def _sound_length(path: Path) -> int:
    """Bytes up to the end of the last whole line: a crash can tear only the last one."""
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
    """(offset, bytes) of the last line, whole or torn, read backwards in growing pieces."""
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
