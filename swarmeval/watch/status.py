"""Reads and writes status.json, which the coordinator replaces every second and viewers read."""

import os
import time
from pathlib import Path

import msgspec

from swarmeval.errors import DataError
from swarmeval.files import replaced
from swarmeval.records import Status

NAME = "status.json"
SLACK_S = 10.0  # clock tolerance: a process that started this long after the timestamp is a different one
ENDED = frozenset({"done", "interrupted", "failed"})  # phases after which the coordinator exits normally


def write(folder: Path, status: Status) -> None:
    """Replace the status atomically, so that readers see either the old or the new one.

    Raises OutputError if the folder cannot be written; the old status then remains.
    """
    with replaced(folder / NAME) as file:
        file.write(msgspec.json.encode(status).decode())


def read(folder: Path) -> Status | None:
    """Read the status of the run in this folder; None if there is none.

    Raises DataError if the file cannot be read or is not a status.
    """
    path = folder / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Status)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not a valid status ({error}); the next start of the run replaces it") from error


def alive(status: Status) -> bool:
    """Whether the coordinator is running on this machine."""
    return running(status.pid, status.updated_at)


def running(pid: int, at: float) -> bool:
    """Whether the process that had this PID at Unix time `at` is still running on this machine."""
    if pid <= 0:  # 0 and negative numbers address process groups
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:  # the process exists but belongs to another user
        pass
    except (ProcessLookupError, OverflowError):
        return False
    began = _began(pid)
    return began is None or began < at + SLACK_S


def _began(pid: int) -> float | None:
    """Start time of a process as Unix time; None if the kernel does not report it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()  # from field 3 of proc(5) on
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    return time.time() - age_s
