"""Folders of wardens. Their names contain the owner's PID, so that folders of killed processes can be removed."""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

STALE_S = 3600.0
UNKNOWN = "0"  # no namespace has this number


def make() -> str:
    """Create a new folder owned by this process."""
    return tempfile.mkdtemp(prefix=f"swarmeval-{os.getpid()}-{pid_namespace()}-")


def sweep() -> None:
    """Remove the folders of killed runs, whose PIDs no longer exist.

    Folders from other PID namespaces, where the owner may still run, must also be old.
    """
    for folder in Path(tempfile.gettempdir()).glob("swarmeval-*-*-*"):
        _, pid, namespace, _ = folder.name.split("-", 3)
        with contextlib.suppress(OSError):  # another process removes it, or it belongs to another user
            status = folder.stat()
            ended = status.st_uid == os.geteuid() and pid.isdecimal() and not Path("/proc", pid).exists()
            if ended and (namespace == pid_namespace() != UNKNOWN or time.time() - status.st_mtime > STALE_S):
                shutil.rmtree(folder, ignore_errors=True)


def pid_namespace() -> str:
    """The number of this PID namespace."""
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    return UNKNOWN
