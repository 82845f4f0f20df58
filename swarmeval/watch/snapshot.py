"""Reads everything that viewers show of a run at one moment from its folder. Writes nothing."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from swarmeval.errors import DataError, OutputError
from swarmeval.monitor.events import NAME as EVENTS
from swarmeval.records import Status
from swarmeval.runs.csv_trace import GPUS, RESOURCES, last_rows
from swarmeval.runs.folder import read_manifest
from swarmeval.watch import logs
from swarmeval.watch import status as status_file

HISTORY = 60  # machine samples in the graphs
MOST_GPU_ROWS = 16 * HISTORY
LOG_BYTES = 16 * 1024

CsvRow = dict[str, str]  # a CSV row: column -> cell, "" if nothing was measured


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The contents of a run folder. Parts that cannot be read are missing and listed in `trouble`."""

    folder: Path
    read_at: float  # Unix time
    status: Status | None = None
    alive: bool = False  # whether the coordinator's process is running
    manifest: Mapping[str, Any] | None = None
    resources: tuple[CsvRow, ...] = ()  # the last rows, oldest first
    gpus: tuple[CsvRow, ...] = ()  # likewise; the GPUs of one sample are adjacent
    score: dict[str, object] | None = None
    log: tuple[str, ...] = ()  # the last lines of run.log
    events: tuple[str, ...] = ()  # events of workers and memory as text, with the time since the start
    trouble: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """The state of the run: "no run yet", "starting", "killed", or the coordinator's phase."""
        session = self._session()
        begun = session.get("pid") if session and session.get("ended_at") is None else None
        starts = isinstance(begun, int) and status_file.running(begun, (session or {}).get("started_at", self.read_at))
        if self.status is None:
            return "no run yet" if self.manifest is None else "starting" if starts or not session else "killed"
        if starts and begun != self.status.pid:
            return "starting"  # the run was resumed and has not written a status yet
        if self.status.phase in status_file.ENDED or self.alive:
            return self.status.phase
        return "killed"

    @property
    def run_id(self) -> str:
        """The id of the run in the folder; "" if there is none."""
        named = (self.manifest or {}).get("run_id") or (self.status.run_id if self.status else "")
        return str(named)

    @property
    def pid(self) -> int | None:
        """PID of the current coordinator: one that is starting, or the one that wrote the status."""
        begun = (self._session() or {}).get("pid")
        if self.state == "starting" and isinstance(begun, int):
            return begun
        return None if self.status is None else self.status.pid

    def agents(self) -> list[int]:
        """The agent ids in the manifest; empty if they are missing or malformed."""
        listed = (self.manifest or {}).get("agents")
        entries = listed if isinstance(listed, list) else []
        return [entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), int)]

    def latest_gpus(self) -> tuple[CsvRow, ...]:
        """The rows of the last sample. All GPUs of a sample have the same time."""
        return tuple(row for row in self.gpus if row.get("time") == self.gpus[-1].get("time"))

    def _session(self) -> Mapping[str, Any] | None:
        sessions = (self.manifest or {}).get("sessions")
        return sessions[-1] if sessions else None


def read(folder: Path) -> Snapshot:
    """Read the run in this folder. Raises nothing; unreadable files are listed in `trouble`."""
    trouble: list[str] = []
    status = manifest = None
    try:
        status = status_file.read(folder)
    except DataError as error:
        trouble.append(str(error))
    try:
        manifest = read_manifest(folder)
    except OutputError as error:
        trouble.append(str(error))
    return Snapshot(
        folder=folder,
        read_at=time.time(),
        status=status,
        alive=status is not None and status_file.alive(status),
        manifest=manifest,
        resources=tuple(_rows(folder / RESOURCES, HISTORY, trouble)),
        gpus=tuple(_rows(folder / GPUS, MOST_GPU_ROWS, trouble)),
        score=_score(folder / "score.json", trouble),
        log=tuple(_last_lines(folder / logs.NAME, trouble)),
        events=tuple(_events(folder / EVENTS, trouble)),
        trouble=tuple(trouble),
    )


def _rows(path: Path, count: int, trouble: list[str]) -> list[CsvRow]:
    try:
        return last_rows(path, count)
    except OSError as error:
        trouble.append(f"{path}: cannot be read ({error.strerror})")
        return []


def _score(path: Path, trouble: list[str]) -> dict[str, object] | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not JSON, or not UTF-8
        trouble.append(f"{path}: cannot be read ({error})")
        return None


def _last_lines(path: Path, trouble: list[str]) -> list[str]:
    """The complete lines in the last LOG_BYTES of a file."""
    try:
        with path.open("rb") as file:
            begin = max(0, file.seek(0, 2) - LOG_BYTES)
            file.seek(begin)
            lines = file.read(LOG_BYTES).decode(errors="replace").split("\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        trouble.append(f"{path}: cannot be read ({error.strerror})")
        return []
    return [line for line in (lines[1:] if begin else lines) if line.strip()]


def _events(path: Path, trouble: list[str]) -> list[str]:
    shown = []
    for line in _last_lines(path, trouble):
        try:
            event = msgspec.json.decode(line, type=dict[str, Any])
            shown.append(
                f"{float(event['elapsed_s']):.0f} s {event['kind']} {event.get('device') or ''}: {event['text']}"
            )
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):  # a torn or foreign line
            continue
    return shown
