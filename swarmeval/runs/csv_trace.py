"""CSV files that grow during a run: appends rows and reads them back. Knows nothing about the columns."""

import csv
import io
import itertools
import logging
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

RESOURCES = "resource_trace.csv"
GPUS = "gpu_trace.csv"
TAIL_BYTES = 64 * 1024  # hundreds of rows; a viewer reads this much of a file of any size

log = logging.getLogger("swarmeval")

Cell = str | float | int | None


class CsvTrace:
    """Appends rows with one write each, so that a killed process leaves whole lines.

    A resumed file keeps its original columns. A failed write (full disk) is logged once and loses only that row;
    later rows are still written.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._columns = tuple(columns)
        self._file: io.FileIO | None = None
        self._torn = False  # whether the file's last line lacks its newline
        self._complained = False

    def open(self) -> None:
        """Create the file with its header, or open it for appending."""
        self._guarded(b"")

    def append(self, row: Mapping[str, Cell]) -> None:
        """Write one row; missing columns and None become empty cells."""
        if self._file is None:
            self.open()  # an existing file decides the columns
        self._guarded(_line([_text(row.get(column)) for column in self._columns]))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _guarded(self, line: bytes) -> None:
        try:
            if self._file is None:
                self._file = self._opened()
            if line:
                self._write(self._file, line)
        except OSError as error:
            if not self._complained:
                self._complained = True
                log.warning("%s: cannot write rows (%s); the run continues without them", self._path, error.strerror)

    def _opened(self) -> io.FileIO:
        columns = header(self._path)
        file = io.FileIO(self._path, "a" if columns else "w")  # without a complete header there are no rows to keep
        if columns:
            self._columns = columns
            self._torn = _tail(self._path, 1) != b"\n"
            return file
        self._torn = False
        try:
            self._write(file, _line(self._columns))
        except OSError:
            file.close()
            raise
        return file

    def _write(self, file: io.FileIO, line: bytes) -> None:
        whole = b"\n" + line if self._torn else line
        self._torn = True  # until the whole line is written
        if file.write(whole) < len(whole):
            raise OSError(0, "the row was only partly written")
        self._torn = False


def header(path: Path) -> tuple[str, ...]:
    """The columns of the file; empty if the file or a complete first line is missing."""
    try:
        with path.open("rb") as file:
            first = file.readline(TAIL_BYTES)
    except FileNotFoundError:
        return ()
    return tuple(_cells(first)) if first.endswith(b"\n") else ()


def last_rows(path: Path, count: int) -> list[dict[str, str]]:
    """The last `count` rows, oldest first, without reading the whole file. Skips torn rows."""
    columns = header(path)
    if not columns:
        return []
    tail = _tail(path, TAIL_BYTES)
    whole = tail[: tail.rfind(b"\n") + 1].split(b"\n")[1:]  # drops the header or a partial row
    sound = (row for line in reversed(whole) if len(row := _cells(line)) == len(columns))
    latest = [dict(zip(columns, row, strict=True)) for row in itertools.islice(sound, count)][::-1]
    return latest or list(deque(rows(path), count))  # torn data longer than the tail may hide all rows


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield every row, oldest first; nothing if there is no file. Skips torn rows. Raises OSError."""
    columns = header(path)
    if not columns:
        return
    with path.open("rb") as file:
        file.readline()
        for line in file:
            if line.endswith(b"\n") and len(row := _cells(line)) == len(columns):
                yield dict(zip(columns, row, strict=True))


def number(cell: str | None) -> float | None:
    """Parse a cell; None if it is empty or not a finite number."""
    try:
        value = float(cell or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _tail(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        end = file.seek(0, io.SEEK_END)
        file.seek(max(0, end - size))
        return file.read(size)


def _cells(line: bytes) -> list[str]:
    """Parse the cells of a line; empty if it is not valid CSV."""
    try:
        return next(csv.reader([line.decode(errors="replace").rstrip("\r\n")]), [])
    except csv.Error:
        return []


def _line(cells: Sequence[str]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([" ".join(cell.split()) for cell in cells])
    return buffer.getvalue().encode(errors="replace")


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.3f}".rstrip("0").rstrip(".") if isinstance(cell, float) else str(cell)
