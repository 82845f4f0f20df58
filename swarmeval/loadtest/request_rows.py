"""requests.csv: one row per request of a load run, appended when the request ends. Computes no statistics.

Times are seconds since the start of the level. A cell is empty if the value was not measured.
"""

import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from swarmeval.errors import DataError, OutputError
from swarmeval.files import cannot_write
from swarmeval.loadtest.generator import Measured
from swarmeval.runs.csv_trace import header, number
from swarmeval.runs.csv_trace import rows as read_rows
from swarmeval.secrets import scrub

NAME = "requests.csv"
COLUMNS = (
    "level", "number", "package", "module", "function", "kind", "functions", "attempts",
    "intended_s", "sent_s", "first_s", "last_s", "written_s", "input_tokens", "output_tokens",
    "computed_tokens", "ttft_s", "tpot_s", "latency_s", "to_file_s", "error", "counts",
)  # fmt: skip
OLDER = tuple(name for name in COLUMNS if name != "computed_tokens")  # files that can be read, but not continued
CONSTANTS = "constants"  # `kind` of a request for tests of code without functions


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request's measurements, its load level and the code that it asked tests for."""

    level: str  # name of the load pattern: "4 at once", "2/s"; unique within a run
    request: Measured
    package: str
    module: str
    function: str
    written_s: float | None = None  # when its test file was written, in the time base of `request`
    kind: str = "function"  # or method, class, constants
    functions: int | None = 1  # number of functions to be tested
    attempts: int = 1  # times the request was sent

    @property
    def to_file_s(self) -> float | None:
        """Seconds from the intended start to the written test file."""
        return None if self.written_s is None else self.written_s - self.request.intended_s

    def cells(self) -> dict[str, object]:
        """Values by column; None if not measured."""
        own = {name: getattr(self, name) for name in COLUMNS if hasattr(self, name)}
        return own | {name: getattr(self.request, name) for name in COLUMNS if hasattr(self.request, name)}


class RowFile:
    """Appends rows to requests.csv. Each row is a single write, so a killed process leaves whole lines."""

    def __init__(self, folder: Path) -> None:
        """Create the file with its header, or append to an existing one. Raises OutputError, DataError."""
        self._path = folder / NAME
        try:
            columns = header(self._path)
            if columns and columns != COLUMNS:
                raise DataError(f"{self._path}: written by another version of Swarmeval; move the file away")
            self._file = self._path.open("ab" if columns else "wb", buffering=0)
            if not columns:
                self._write(_line(dict(zip(COLUMNS, COLUMNS, strict=True))))
            elif _last_byte(self._path) != b"\n":
                self._write(b"\n")  # ends the torn row of a killed process, so that it cannot merge with the next
        except OSError as error:
            raise cannot_write(self._path, error) from None

    def append(self, row: RequestRow) -> None:
        """Append one row. Raises OutputError if it cannot be written."""
        try:
            self._write(_line(row.cells()))
        except OSError as error:
            raise cannot_write(self._path, error) from None

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "RowFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        left = memoryview(line)
        while left:
            left = left[self._file.write(left) or 0 :]


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read()


def read(folder: Path) -> Iterator[RequestRow]:
    """Yield every complete row, oldest first; torn rows are skipped.

    Raises DataError if there is no such file or its columns differ, OutputError if it cannot be read.
    """
    path = folder / NAME
    try:
        columns = header(path)
        if not columns:
            raise DataError(f"{folder}: not the folder of a load run (it has no {NAME})")
        if columns not in (COLUMNS, OLDER):
            raise DataError(f"{path}: written by another version of Swarmeval; read it with that version")
        interned: dict[str, str] = {}  # rows repeat few names: each is stored once
        for cells in read_rows(path):
            if row := _row({key: interned.setdefault(cell, cell) for key, cell in cells.items()}):
                yield row
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from None


def _row(cells: Mapping[str, str]) -> RequestRow | None:
    """The parsed row; None if it is torn."""
    intended_s, sent_s, last_s = (number(cells[name]) for name in ("intended_s", "sent_s", "last_s"))
    if intended_s is None or sent_s is None or last_s is None or cells["counts"] not in ("yes", "no"):
        return None
    measured = Measured(
        _whole(cells["number"]) or 0, intended_s, sent_s, number(cells["first_s"]), last_s,
        _whole(cells["input_tokens"]), _whole(cells["output_tokens"]), cells["error"] or None, cells["counts"] == "yes",
        _whole(cells.get("computed_tokens", "")),
    )  # fmt: skip
    return RequestRow(
        cells["level"], measured, cells["package"], cells["module"], cells["function"], number(cells["written_s"]),
        cells["kind"], _whole(cells["functions"]), _whole(cells["attempts"]) or 1,
    )  # fmt: skip


def _whole(cell: str) -> int | None:
    value = number(cell)
    return None if value is None else int(value)


def _line(cells: Mapping[str, object]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([_text(cells[name]) for name in COLUMNS])
    return buffer.getvalue().encode(errors="replace")


def _text(cell: object) -> str:
    """Format a cell on one line, to the microsecond, with secrets in error texts removed."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:.6f}".rstrip("0").rstrip(".")
    return scrub(" ".join(str(cell).split()))
