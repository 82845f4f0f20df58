"""What a judged program may do: the layers around it, which of them hold here, and why the others do not.

`Guard.open` is for the process that forks programs, once; `Guard.confine` for each child, between fork and the program.
What can be done before the fork is: each object that a child touches costs it the copy of a page. Linux only.
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
OWN_PROCESSES = 64  # processes and threads, where a program's user is counted apart
OWN_SIGNALS = 64  # pending signals and timers, so that all jails together stay below the limit that they share
SPARE_PROCESSES = 256  # where it is not: those a program may add to the ones its user already has
COUNT_EVERY_S = 5.0  # counting a user's threads takes milliseconds: not for each program
NOBODY = namespaces.NOBODY
LAYERS = ("namespaces", "landlock", "seccomp")  # that a kernel may not offer


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What one process may use."""

    timeout_s: float
    memory_mb: int  # address space
    bounds_cpu: bool = True  # no process may compute longer than `timeout_s` in all its life


class Guard:
    """The layers of one forking process; its children inherit them and add their own."""

    def __init__(self, seccomp: Seccomp | None, layers: Collection[str]) -> None:
        """`layers`: of LAYERS, "processes" (a limit of their number) and "user" (that root becomes nobody)."""
        self.missing: dict[str, str] = {}
        self.proc: int | None = None  # of our namespaces
        self._layers = layers
        self._seccomp = seccomp if "seccomp" in layers else None
        self._landlock: Landlock | None = None
        self._last_pid: int | None = None  # where the numbers of processes can be set back
        self._tasks = 0
        self._counted_at = -math.inf
        self._limits_for: ProcessLimits | None = None
        self._limits: list[tuple[int, tuple[int, int]]] = []  # of these, as setrlimit wants them
        self._last_steps: list[Callable[[], None]] = []
        self._load_filter: Callable[[], None] | None = None
        self._highest = os.sysconf("SC_OPEN_MAX")

    def open(self, folder: str, places: Places) -> str:
        """Move into a root of our own, where namespaces are ours, and make the rules for files.

        Gives the folder for programs' folders, as it is called from then on. Raises OSError where the root cannot be
        made.
        """
        if "namespaces" in self._layers:
            self.proc = namespaces.furnish(folder, places)
            self._last_pid = namespaces.open_last_pid(self.proc)
            folder = namespaces.OWN_FOLDER
        if "landlock" in self._layers:
            writable = namespaces.OWN if "namespaces" in self._layers else folder  # beneath it is what is mounted anew
            try:
                self._landlock = Landlock(places, writable)
            except OSError as error:
                self.missing["landlock"] = str(error)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        # The second comes after the change of user, which would clear it.
        self._last_steps = [drop_capabilities(), prepared_prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))]
        if self._landlock is not None:
            self._last_steps.append(self._landlock.restrict_self())
        if self._seccomp is not None:
            self._load_filter = self._seccomp.load()
        return folder

    def start_over(self) -> bool:
        """Once all children are gone, give the next ones a new file system and the first one's process number.

        Both count up, so that they tell how much was made before. False where files cannot be dealt with so.
        """
        if "namespaces" not in self._layers:
            return False
        namespaces.renew_own_folder()
        if self._last_pid is not None:
            os.pwrite(self._last_pid, str(namespaces.FIRST_PID).encode(), 0)
        return True

    def before_fork(self, folder: str, limits: ProcessLimits) -> None:
        """Make a child's folder its own, and find out for it what it could only slowly."""
        if self._becomes_nobody():
            os.chown(folder, NOBODY, NOBODY)
        if self._counts_all() and time.monotonic() - self._counted_at > COUNT_EVERY_S:
            self._tasks = count_tasks(os.getuid() or NOBODY)
            self._counted_at = time.monotonic()
            self._limits_for = None
        if self._limits_for != limits:
            self._limits, self._limits_for = list(self._limits_of(limits)), limits

    def confine(self, folder: str, keep: int, parent: int) -> None:
        """Shut this child in; descriptors from `keep` on are closed. Raises OSError when a layer fails."""
        os.setpgid(0, 0)  # a session of its own would count as much as the decoder's, whatever its nice value
        os.chdir(folder)
        for kind, limit in self._limits:
            resource.setrlimit(kind, limit)
        if self._becomes_nobody():
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        elif os.getuid() == 0 and "processes" in self._layers:  # root's are not counted: be another's, but read as root
            os.setresuid(NOBODY, 0, 0)
        for step in self._last_steps:
            step()
        if os.getppid() != parent:
            raise ProcessLookupError("the jail ended")
        os.closerange(keep, self._highest)
        if self._load_filter is not None:
            self._load_filter()

    def lets_fork(self) -> bool:
        """Whether a program may make processes."""
        return self._seccomp is None

    def in_force(self) -> list[str]:
        """The layers that hold, strongest first."""
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
        """A child's limits, soft and hard, none above those of this process."""
        table = {
            resource.RLIMIT_AS: limits.memory_mb * MB,
            resource.RLIMIT_FSIZE: FILE_SIZE_MB * MB,
            resource.RLIMIT_NOFILE: OPEN_FILES,
            resource.RLIMIT_CORE: 0,
        }
        if limits.bounds_cpu:
            table[resource.RLIMIT_CPU] = math.ceil(limits.timeout_s) + 2  # a backstop: the parent's clock comes first
        if "namespaces" in self._layers:  # else they are counted together with all others of its user
            table[resource.RLIMIT_SIGPENDING] = OWN_SIGNALS
        if "processes" in self._layers:
            table[resource.RLIMIT_NPROC] = self._tasks + SPARE_PROCESSES if self._counts_all() else OWN_PROCESSES
        for kind, requested in table.items():
            hard = resource.getrlimit(kind)[1]
            value = requested if hard == resource.RLIM_INFINITY else min(requested, hard)
            # The CPU's soft limit sends SIGXCPU, which says what happened; its hard one, a second later, kills.
            spare = 1 if kind == resource.RLIMIT_CPU and value == requested else 0
            yield kind, (value, value + spare if hard == resource.RLIM_INFINITY else value)


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
