"""The layers around a judged program: which of them are in force here, and why the others are missing.

The process that forks programs calls `Guard.open` once. Each child calls `Guard.confine` before it runs its program.
As much as possible is done before the fork, since each object that a child touches costs a page copy. Linux only.
"""

import contextlib
import math
import os
import resource
import signal
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from swarmeval.sandbox.layers import namespaces
from swarmeval.sandbox.layers.kernel import (
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    drop_capabilities,
    prctl,
    prepared_prctl,
)
from swarmeval.sandbox.layers.landlock import Landlock
from swarmeval.sandbox.layers.places import Places
from swarmeval.sandbox.layers.seccomp import Seccomp

MB = 1 << 20
FILE_SIZE_MB = 64
OPEN_FILES = 256
OWN_PROCESSES = 64  # processes and threads, if the kernel counts each jail separately
OWN_SIGNALS = 64  # pending signals and timers: keeps all jails together below the limit that they share
SPARE_PROCESSES = 256  # otherwise: what a program may add to the processes that its user already has
COUNT_EVERY_S = 5.0  # counting a user's threads takes milliseconds, too long to do for each program
NOBODY = namespaces.NOBODY
LAYERS = ("namespaces", "landlock", "seccomp")  # those that a kernel may lack


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """The limits of one process."""

    timeout_s: float
    memory_mb: int  # address space
    bounds_cpu: bool = True  # whether `timeout_s` also bounds the CPU time of the process's whole life


class Guard:
    """The layers of one forking process; its children inherit them and add their own."""

    def __init__(self, seccomp: Seccomp | None, layers: Collection[str]) -> None:
        """`layers`: from LAYERS, "processes" (limits their number) and "user" (root becomes nobody)."""
        self.missing: dict[str, str] = {}
        self.proc: int | None = None  # descriptor of the /proc of our namespaces
        self._layers = layers
        self._seccomp = seccomp if "seccomp" in layers else None
        self._landlock: Landlock | None = None
        self._last_pid: int | None = None  # descriptor that sets process numbers back, if the kernel allows it
        self._tasks = 0
        self._counted_at = -math.inf
        self._limits_for: ProcessLimits | None = None
        self._limits: list[tuple[int, tuple[int, int]]] = []  # the same as arguments of setrlimit
        self._last_steps: list[Callable[[], None]] = []
        self._load_filter: Callable[[], None] | None = None
        self._highest = os.sysconf("SC_OPEN_MAX")

    def open(self, folder: str, places: Places) -> str:
        """Enter a root of our own if there are namespaces, and make the rules for files.

        Returns the path that the folder for programs' folders has from then on. Raises OSError if the root cannot be
        made.
        """
        if "namespaces" in self._layers:
            self.proc = namespaces.furnish(folder, places)
            self._last_pid = namespaces.open_last_pid(self.proc)
            folder = namespaces.OWN_FOLDER
        if "landlock" in self._layers:
            # With namespaces, the folder itself is remounted for each program, so the rule is for the one above it.
            writable = namespaces.OWN if "namespaces" in self._layers else folder
            try:
                self._landlock = Landlock(places, writable)
            except OSError as error:
                self.missing["landlock"] = str(error)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        # PDEATHSIG is set after the change of user, which would clear it.
        self._last_steps = [drop_capabilities(), prepared_prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))]
        if self._landlock is not None:
            self._last_steps.append(self._landlock.restrict_self())
        if self._seccomp is not None:
            self._load_filter = self._seccomp.load()
        return folder

    def start_over(self) -> bool:
        """Give the next children a new file system and restart process numbers. All children must be gone.

        Otherwise, inode and process numbers would show how many were used before. Returns False without namespaces, in
        which case the caller must remove the files.
        """
        if "namespaces" not in self._layers:
            return False
        namespaces.renew_own_folder()
        if self._last_pid is not None:
            os.pwrite(self._last_pid, str(namespaces.FIRST_PID).encode(), 0)
        return True

    def before_fork(self, folder: str, limits: ProcessLimits) -> None:
        """Give a child's folder to its user, and compute its limits, which is cheaper before the fork."""
        if self._becomes_nobody():
            os.chown(folder, NOBODY, NOBODY)
        if self._counts_all() and time.monotonic() - self._counted_at > COUNT_EVERY_S:
            self._tasks = count_tasks(os.getuid() or NOBODY)
            self._counted_at = time.monotonic()
            self._limits_for = None
        if self._limits_for != limits:
            self._limits, self._limits_for = list(self._limits_of(limits)), limits

    def confine(self, folder: str, keep: int, parent: int) -> None:
        """Confine this child, and close its descriptors from `keep` on. Raises OSError if a layer fails."""
        os.setpgid(0, 0)  # a session of its own would get as much CPU time as the decoder's, whatever its nice value
        os.chdir(folder)
        for kind, limit in self._limits:
            resource.setrlimit(kind, limit)
        if self._becomes_nobody():
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        elif os.getuid() == 0 and "processes" in self._layers:
            os.setresuid(NOBODY, 0, 0)  # counted as nobody's, since root's are not counted, but reads files as root
        for step in self._last_steps:
            step()
        if os.getppid() != parent:
            raise ProcessLookupError("the jail ended")
        os.closerange(keep, self._highest)
        if self._load_filter is not None:
            self._load_filter()

    def lets_fork(self) -> bool:
        """Whether a program can create processes."""
        return self._seccomp is None

    def in_force(self) -> list[str]:
        """The layers in force, strongest first."""
        processes = ", processes" if "processes" in self._layers else ""
        layers = [namespaces.NAMES] if "namespaces" in self._layers else []
        layers += [f"landlock {self._landlock.version}"] if self._landlock is not None else []
        layers += ["seccomp"] if self._seccomp is not None else []
        layers += [f"rlimits (memory, cpu{processes}, file size, open files, core)"]
        layers += [f"private folder of {namespaces.DISK_MB} MB" if "namespaces" in self._layers else "private folder"]
        return [*layers, "empty environment", "no_new_privs", "nice 19"]

    def _becomes_nobody(self) -> bool:
        return os.getuid() == 0 and "user" in self._layers

    def _counts_all(self) -> bool:
        """Whether the kernel counts a program's processes together with all others of its user."""
        return "processes" in self._layers and "namespaces" not in self._layers

    def _limits_of(self, limits: ProcessLimits) -> Iterator[tuple[int, tuple[int, int]]]:
        """A child's soft and hard limits, none above those of this process."""
        table = {
            resource.RLIMIT_AS: limits.memory_mb * MB,
            resource.RLIMIT_FSIZE: FILE_SIZE_MB * MB,
            resource.RLIMIT_NOFILE: OPEN_FILES,
            resource.RLIMIT_CORE: 0,
        }
        if limits.bounds_cpu:
            table[resource.RLIMIT_CPU] = math.ceil(limits.timeout_s) + 2  # a backstop: the jail's clock comes first
        if "namespaces" in self._layers:  # otherwise all signals of the program's user count
            table[resource.RLIMIT_SIGPENDING] = OWN_SIGNALS
        if "processes" in self._layers:
            table[resource.RLIMIT_NPROC] = self._tasks + SPARE_PROCESSES if self._counts_all() else OWN_PROCESSES
        for kind, requested in table.items():
            hard = resource.getrlimit(kind)[1]
            value = requested if hard == resource.RLIM_INFINITY else min(requested, hard)
            # The soft CPU limit sends SIGXCPU, which names the cause. The hard one kills a second later.
            spare = 1 if kind == resource.RLIMIT_CPU and value == requested else 0
            yield kind, (value, value + spare if hard == resource.RLIM_INFINITY else value)


def count_tasks(uid: int) -> int:
    """The number of threads of all visible processes whose real user is `uid`. RLIMIT_NPROC bounds this number."""
    total = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended meanwhile
                status = Path(entry.path, "status").read_bytes()
                fields = dict(line.split(b":", 1) for line in status.splitlines() if b":" in line)
                if int(fields[b"Uid"].split()[0]) == uid:
                    total += int(fields.get(b"Threads", b"1"))
    return total
