"""status.json: written whole by the coordinator each second, read by every viewer. Draws nothing."""

import os
import time
from pathlib import Path

import msgspec

from swarmeval.errors import DataError
from swarmeval.files import replaced
from swarmeval.records import Status

NAME = "status.json"
SLACK_S = 10.0  # between clocks: a process that began later than this after it was seen is another
ENDED = frozenset({"done", "interrupted", "failed"})  # phases after which the coordinator is gone on purpose


def write(folder: Path, status: Status) -> None:
    """Replace the status in one step: a reader sees the old or the new one, never half of one.

    Raises OutputError when the folder cannot be written; the old status then stays.
    """
    with replaced(folder / NAME) as file:
        file.write(msgspec.json.encode(status).decode())


def read(folder: Path) -> Status | None:
    """The status of the run in this folder; None when there is none.

    Raises DataError when the file cannot be read or is not a status.
    """
    path = folder / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Status)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: is not a run's status ({error}); the next start of the run replaces it") from error


def alive(status: Status) -> bool:
    """Whether the coordinator is running on this machine."""
    return running(status.pid, status.updated_at)


def running(pid: int, at: float) -> bool:
    """Whether the process that had this PID at that Unix time is running on this machine."""
    if pid <= 0:  # 0 and below would address process groups
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:  # it runs, and is another user's
        pass
    except (ProcessLookupError, OverflowError):
        return False
    began = _began(pid)
    return began is None or began < at + SLACK_S


def _began(pid: int) -> float | None:
    """When a process began, as Unix time; None where the kernel does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()  # from proc(5)'s third on
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    return time.time() - age_s
