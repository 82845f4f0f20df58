"""All a viewer can know of a run at one moment, read from its folder. Opens nothing else and writes nothing."""

import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.errors import DataError
from bench.records import Status
from watch import status as status_file
from watch.csv_trace import GPUS, RESOURCES, last_rows

MOST_GPUS = 64

Row = dict[str, str]  # a CSV row: column -> cell, "" where nothing was measured


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run as its folder shows it. A part that cannot be read is missing and named in `trouble`."""

    folder: Path
    read_at: float  # Unix time
    status: Status | None = None
    alive: bool = False  # the coordinator's process
    resources: tuple[Row, ...] = ()  # the last two rows, oldest first
    gpus: tuple[Row, ...] = ()  # the last row of each GPU
    score: dict[str, object] | None = None
    trouble: tuple[str, ...] = ()

    @property
    def abandoned(self) -> bool:
        """Whether the coordinator is gone without having said so."""
        return self.status is not None and not self.alive and self.status.phase not in status_file.ENDED


def read(folder: Path) -> Snapshot:
    """The run in this folder, now. Raises nothing: what is broken is told in `trouble`."""
    trouble: list[str] = []
    status = None
    try:
        status = status_file.read(folder)
    except DataError as error:
        trouble.append(str(error))
    return Snapshot(
        folder=folder,
        read_at=time.time(),
        status=status,
        alive=status is not None and status_file.alive(status),
        resources=tuple(_rows(folder / RESOURCES, 2, trouble)),
        gpus=_latest(_rows(folder / GPUS, MOST_GPUS, trouble)),
        score=_score(folder / "score.json", trouble),
        trouble=tuple(trouble),
    )


def _rows(path: Path, count: int, trouble: list[str]) -> list[Row]:
    try:
        return last_rows(path, count)
    except OSError as error:
        trouble.append(f"{path}: cannot be read ({error.strerror})")
        return []


def _latest(rows: list[Row]) -> tuple[Row, ...]:
    """The rows of the last sample: all GPUs of a sample share its time."""
    return tuple(row for row in rows if row.get("time") == rows[-1].get("time"))


def _score(path: Path, trouble: list[str]) -> dict[str, object] | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not JSON, or not UTF-8
        trouble.append(f"{path}: cannot be read ({error})")
        return None
