"""Confines programs with all layers that the kernel supports, and reports the missing layers with reasons. Linux only.

The process that forks programs calls `Guard.open` once. Each child calls `Guard.confine` between its fork and the
program. As much as possible is done before the fork, because each object that a child touches costs a page copy.
"""

import contextlib
import math
import os
import resource
import signal
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
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
OPEN_FILES = 256  # each may be a pipe full of data, which does not count as memory
OWN_PROCESSES = 64  # processes and threads, if the kernel counts a program's user separately
EXECUTED_PROCESSES = 256  # of executed programs: compilers, the JVM and Go need more
EXECUTED_DATA_FACTOR, EXECUTED_DATA_SPARE_MB = 2, 1024  # one process's data, which the jail limits more strictly
OWN_SIGNALS = 64  # pending signals and timers: all jails together stay below their common limit
SPARE_PROCESSES = 256  # otherwise: additional to those that the user already has
COUNT_EVERY_S = 5.0  # counting a user's threads takes milliseconds, too slow for each program
NOBODY = namespaces.NOBODY
LAYERS = ("namespaces", "landlock", "seccomp")  # not available in every kernel


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """The resource limits of one process."""

    timeout_s: float
    memory_mb: int  # address space; of an executed program, the memory of all its processes
    bounds_cpu: bool = True  # whether `timeout_s` also limits the total CPU time of a process


class Guard:
    """The layers of one forking process. Its children inherit them and add their own."""

    def __init__(self, seccomp: Seccomp | None, layers: Collection[str], executes: bool = False) -> None:
        """`layers`: some of LAYERS, "processes" (limits their number) and "user" (runs root's programs as nobody).

        `executes`: whether a program may start other programs, as executed tasks do.
        """
        self.missing: dict[str, str] = {}
        self.proc: int | None = None  # descriptor of the /proc of our namespaces
        self._layers = layers
        self._executes = executes
        self._seccomp = seccomp if "seccomp" in layers else None
        self._landlock: Landlock | None = None
        self._last_pid: int | None = None  # descriptor of ns_last_pid, if available
        self._tasks = 0
        self._counted_at = -math.inf
        self._limits_for: ProcessLimits | None = None
        self._limits: list[tuple[int, tuple[int, int]]] = []  # the same as arguments for setrlimit
        self._last_steps: list[Callable[[], None]] = []
        self._load_filter: Callable[[], None] | None = None
        self._highest = os.sysconf("SC_OPEN_MAX")

    def open(self, folder: str, places: Places) -> str:
        """Change to a private root (with namespaces) and set up the file rules.

        Returns the new path of the folder for programs' folders. Raises OSError if the root cannot be created.
        """
        if "namespaces" in self._layers:
            self.proc = namespaces.furnish(folder, places, self._executes)
            self._last_pid = namespaces.open_last_pid(self.proc)
            folder = namespaces.OWN_FOLDER
        if "landlock" in self._layers:
            writable = namespaces.OWN if "namespaces" in self._layers else folder  # contains the remounted folder
            if self._executes and self.proc is not None:
                places = replace(places, readable=(*places.readable, "/proc"))
            try:
                self._landlock = Landlock(places, writable, self._executes)
            except OSError as error:
                self.missing["landlock"] = str(error)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        # PDEATHSIG must be set after the change of user, which clears it.
        self._last_steps = [drop_capabilities(), prepared_prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))]
        if self._landlock is not None:
            self._last_steps.append(self._landlock.restrict_self())
        if self._seccomp is not None:
            self._load_filter = self._seccomp.load()
        return folder

    def start_over(self) -> bool:
        """After all children have ended, reset the file system and the process numbers for the next ones.

        Inode and process numbers count up and would reveal how many were used before. Returns False if the file system
        cannot be replaced.
        """
        if "namespaces" not in self._layers:
            return False
        namespaces.renew_own_folder(namespaces.disk_mb(self._executes))
        if self._last_pid is not None:
            os.pwrite(self._last_pid, str(namespaces.FIRST_PID).encode(), 0)
        return True

    def before_fork(self, folder: str, limits: ProcessLimits) -> None:
        """Give a child its folder, and compute its limits in advance."""
        self.own(folder)
        if self._counts_all() and time.monotonic() - self._counted_at > COUNT_EVERY_S:
            self._tasks = count_tasks(os.getuid() or NOBODY)
            self._counted_at = time.monotonic()
            self._limits_for = None
        if self._limits_for != limits:
            self._limits, self._limits_for = list(self._limits_of(limits)), limits

    def own(self, path: str | int) -> None:
        """Give a file, folder or descriptor to the user that programs run as."""
        if self._becomes_nobody():
            os.chown(path, NOBODY, NOBODY)

    def confine(self, folder: str, keep: int, parent: int) -> None:
        """Confine this child, and close all descriptors from `keep` on. Raises OSError if a layer fails."""
        os.setpgid(
            0, 0
        )  # not a new session: with autogroups it would get as much CPU time as the engine, at any nice value
        os.chdir(folder)
        for kind, limit in self._limits:
            resource.setrlimit(kind, limit)
        if self._becomes_nobody():
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        elif os.getuid() == 0 and "processes" in self._layers and not self._executes:
            # The kernel does not count root's processes: change the real user only, to keep root's access. The start of
            # another program would change the effective user, too.
            os.setresuid(NOBODY, 0, 0)
        for step in self._last_steps:
            step()
        if os.getppid() != parent:
            raise ProcessLookupError("the jail ended")
        os.closerange(keep, self._highest)
        if self._load_filter is not None:
            self._load_filter()

    def lets_fork(self) -> bool:
        """Whether a program can create processes."""
        return self._executes or self._seccomp is None

    def in_force(self) -> list[str]:
        """The active layers, strongest first."""
        processes = ", processes" if "processes" in self._layers else ""
        layers = [namespaces.NAMES] if "namespaces" in self._layers else []
        layers += [f"landlock {self._landlock.version}"] if self._landlock is not None else []
        layers += ["seccomp"] if self._seccomp is not None else []
        cpu = "" if self._executes else ", cpu"
        layers += [f"rlimits (memory{cpu}{processes}, file size, open files, core)"]
        size = f" of {namespaces.disk_mb(self._executes)} MB" if "namespaces" in self._layers else ""
        layers += [f"private folder{size}"]
        niceness = os.getpriority(os.PRIO_PROCESS, 0)
        return [*layers, "empty environment", "no_new_privs", *([f"nice {niceness}"] if niceness else [])]

    def _becomes_nobody(self) -> bool:
        return os.getuid() == 0 and "user" in self._layers

    def _counts_all(self) -> bool:
        """Whether the kernel counts a program's processes together with all processes of its user."""
        return "processes" in self._layers and "namespaces" not in self._layers

    def _limits_of(self, limits: ProcessLimits) -> Iterator[tuple[int, tuple[int, int]]]:
        """(kind, (soft, hard)) of a child's limits, none above those of this process."""
        if self._executes:
            data_mb = EXECUTED_DATA_FACTOR * limits.memory_mb + EXECUTED_DATA_SPARE_MB
            table = {resource.RLIMIT_DATA: data_mb * MB}
        else:
            table = {resource.RLIMIT_AS: limits.memory_mb * MB}
        table |= {resource.RLIMIT_NOFILE: OPEN_FILES, resource.RLIMIT_CORE: 0}
        table |= {resource.RLIMIT_FSIZE: namespaces.disk_mb(self._executes) * MB}
        if limits.bounds_cpu:
            table[resource.RLIMIT_CPU] = math.ceil(limits.timeout_s) + 2  # a backstop: the jail's clock is stricter
        if "namespaces" in self._layers:  # otherwise they are counted together with all signals of its user
            table[resource.RLIMIT_SIGPENDING] = OWN_SIGNALS
        if "processes" in self._layers:
            own = EXECUTED_PROCESSES if self._executes else OWN_PROCESSES
            table[resource.RLIMIT_NPROC] = self._tasks + SPARE_PROCESSES if self._counts_all() else own
        for kind, requested in table.items():
            hard = resource.getrlimit(kind)[1]
            value = requested if hard == resource.RLIM_INFINITY else min(requested, hard)
            # The soft CPU limit sends SIGXCPU, which identifies the cause; the hard limit kills a second later.
            spare = 1 if kind == resource.RLIMIT_CPU and value == requested else 0
            yield kind, (value, value + spare if hard == resource.RLIM_INFINITY else value)


def count_tasks(uid: int) -> int:
    """Number of threads of all visible processes with real user `uid`, to which RLIMIT_NPROC applies."""
    total = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended in the meantime
                status = Path(entry.path, "status").read_bytes()
                fields = dict(line.split(b":", 1) for line in status.splitlines() if b":" in line)
                if int(fields[b"Uid"].split()[0]) == uid:
                    total += int(fields.get(b"Threads", b"1"))
    return total
