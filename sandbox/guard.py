"""What a judged program may do: the layers around it, which of them hold here, and why the others do not.

`Guard.open` is for the process that forks programs, once; `Guard.confine` for each child, between fork and the program.
Linux only.
"""

import contextlib
import math
import os
import resource
import signal
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import namespaces
from sandbox.kernel import PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, drop_capabilities, prctl
from sandbox.landlock import Landlock
from sandbox.seccomp import Seccomp

MB = 1 << 20
FILE_SIZE_MB = 64
OPEN_FILES = 256
OWN_PROCESSES = 64  # processes and threads, where a program's user is counted apart
SPARE_PROCESSES = 256  # where it is not: those a program may add to the ones its user already has
COUNT_EVERY_S = 5.0  # counting a user's threads takes milliseconds: not for each program
NOBODY = namespaces.INSIDE
LAYERS = ("namespaces", "landlock", "seccomp")  # that a kernel may not offer


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use."""

    timeout_s: float
    memory_mb: int  # address space


class Guard:
    """The layers of one forking process; its children inherit them and add their own."""

    def __init__(self, seccomp: Seccomp | None, wanted: Collection[str]) -> None:
        """`wanted`: of LAYERS, "processes" (a limit of their number) and "user" (that root becomes nobody)."""
        self.missing: dict[str, str] = {}
        self.proc: int | None = None  # of our namespaces
        self._wanted = wanted
        self._seccomp = seccomp if "seccomp" in wanted else None
        self._landlock: Landlock | None = None
        self._tasks = 0
        self._counted_at = -math.inf

    def open(self, folder: str, readable: Sequence[str]) -> str:
        """Move into a root of our own, where namespaces are ours, and make the rules for files.

        Gives the folder for programs' folders, as it is called from then on. Raises OSError where the root cannot be
        made.
        """
        if "namespaces" in self._wanted:
            self.proc = namespaces.furnish(folder, readable)
            folder = namespaces.OWN_FOLDER
        if "landlock" in self._wanted:
            try:
                self._landlock = Landlock(readable, folder)
            except OSError as error:
                self.missing["landlock"] = str(error)
        return folder

    def before_fork(self, folder: str) -> None:
        """Make a program's folder its own, and refresh what its process could find out only slowly."""
        if self._becomes_nobody():
            os.chown(folder, NOBODY, NOBODY)
        if self._counts_all() and time.monotonic() - self._counted_at > COUNT_EVERY_S:
            self._tasks = count_tasks(os.getuid() or NOBODY)
            self._counted_at = time.monotonic()

    def confine(self, limits: Limits, folder: str, keep: int, parent: int) -> None:
        """Shut this child in; descriptors from `keep` on are closed. Raises OSError when a layer fails."""
        os.setpgid(0, 0)  # a session of its own would count as much as the decoder's, whatever its nice value
        os.chdir(folder)
        self._set_limits(limits)
        if self._becomes_nobody():
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        elif os.getuid() == 0 and "processes" in self._wanted:  # root's are not counted: be another's, but read as root
            os.setresuid(NOBODY, 0, 0)
        drop_capabilities()
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))  # after the change of user, which clears it
        if os.getppid() != parent:
            raise ProcessLookupError("the jail ended")
        if self._landlock is not None:
            self._landlock.restrict_self()
        os.closerange(keep, os.sysconf("SC_OPEN_MAX"))
        if self._seccomp is not None:
            self._seccomp.load()

    def lets_fork(self) -> bool:
        """Whether a program may make processes."""
        return self._seccomp is None

    def in_force(self) -> list[str]:
        """The layers that hold, strongest first."""
        processes = ", processes" if "processes" in self._wanted else ""
        found = [namespaces.NAMES] if "namespaces" in self._wanted else []
        found += [f"landlock {self._landlock.version}"] if self._landlock is not None else []
        found += ["seccomp"] if self._seccomp is not None else []
        found += [f"rlimits (memory, cpu{processes}, file size, open files, core)"]
        found += [f"private folder of {namespaces.DISK_MB} MB" if "namespaces" in self._wanted else "private folder"]
        return [*found, "empty environment", "no_new_privs", "nice 19"]

    def _becomes_nobody(self) -> bool:
        return os.getuid() == 0 and "user" in self._wanted

    def _counts_all(self) -> bool:
        """Whether the kernel counts a program's processes together with all others of its user."""
        return "processes" in self._wanted and "namespaces" not in self._wanted

    def _set_limits(self, limits: Limits) -> None:
        cpu_s = math.ceil(limits.timeout_s) + 2  # a backstop: the parent's clock comes first
        table = {
            resource.RLIMIT_AS: limits.memory_mb * MB,
            resource.RLIMIT_CPU: cpu_s,
            resource.RLIMIT_FSIZE: FILE_SIZE_MB * MB,
            resource.RLIMIT_NOFILE: OPEN_FILES,
            resource.RLIMIT_CORE: 0,
        }
        if "processes" in self._wanted:
            table[resource.RLIMIT_NPROC] = self._tasks + SPARE_PROCESSES if self._counts_all() else OWN_PROCESSES
        for kind, wanted in table.items():
            hard = resource.getrlimit(kind)[1]
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            # The CPU's soft limit sends SIGXCPU, which says what happened; its hard one, a second later, kills.
            spare = 1 if kind == resource.RLIMIT_CPU and value == wanted else 0
            resource.setrlimit(kind, (value, value + spare if hard == resource.RLIM_INFINITY else value))


def count_tasks(uid: int) -> int:
    """Threads of all visible processes whose real user is `uid`: what RLIMIT_NPROC is compared with."""
    total = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended meanwhile
                status = Path(entry.path, "status").read_bytes()
                fields = dict(line.split(b":", 1) for line in status.splitlines() if b":" in line)
                if int(fields[b"Uid"].split()[0]) == uid:
                    total += int(fields.get(b"Threads", b"1"))
    return total
