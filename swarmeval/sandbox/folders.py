"""The folder of a warden. The owner's PID is in its name, so that folders of killed processes can be removed."""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

STALE_S = 3600.0
UNKNOWN = "0"  # no namespace has this number


def make() -> str:
    """Make a temporary folder with this process's PID in its name; return its path."""
    return tempfile.mkdtemp(prefix=f"swarmeval-{os.getpid()}-{pid_namespace()}-")


def sweep() -> None:
    """Remove the folders of runs that were killed together with their judges: their PID no longer exists.

    The owner of a folder from another PID namespace may be alive there, so that folder must also be old.
    """
    for folder in Path(tempfile.gettempdir()).glob("swarmeval-*-*-*"):
        _, pid, namespace, _ = folder.name.split("-", 3)
        with contextlib.suppress(OSError):  # another process removes it, or it is not ours
            status = folder.stat()
            ended = status.st_uid == os.geteuid() and pid.isdecimal() and not Path("/proc", pid).exists()
            if ended and (namespace == pid_namespace() != UNKNOWN or time.time() - status.st_mtime > STALE_S):
                shutil.rmtree(folder, ignore_errors=True)


def pid_namespace() -> str:
    """The number of this process's PID namespace; UNKNOWN if /proc does not show it."""
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    return UNKNOWN
