"""The folder of a warden: whose it is stands in its name, so that those of processes that were killed can be swept."""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

STALE_S = 3600.0
UNKNOWN = "0"  # no number of a namespace


def make() -> str:
    """A new folder of this process."""
    return tempfile.mkdtemp(prefix=f"swarmeval-{os.getpid()}-{pid_namespace()}-")


def sweep() -> None:
    """Remove the folders of runs that were killed together with their judges: their PID is gone.

    One of another PID namespace, where it may live, must be old as well.
    """
    for folder in Path(tempfile.gettempdir()).glob("swarmeval-*-*-*"):
        _, pid, namespace, _ = folder.name.split("-", 3)
        with contextlib.suppress(OSError):  # another sweeps it, or it is not ours
            status = folder.stat()
            ended = status.st_uid == os.geteuid() and pid.isdecimal() and not Path("/proc", pid).exists()
            if ended and (namespace == pid_namespace() != UNKNOWN or time.time() - status.st_mtime > STALE_S):
                shutil.rmtree(folder, ignore_errors=True)


def pid_namespace() -> str:
    """What tells apart the places where a PID means a process."""
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    return UNKNOWN
