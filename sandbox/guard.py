"""What a judged program may do: its limits and the layers around it. Knows no pool and no protocol.

`prepare` is for the warm parent, once; `Guard.confine` for each child, between fork and the program.
`Guard.in_force` names only what really holds. Further layers (namespaces, Landlock, seccomp) go into these two places.
Linux only; ctypes reaches what the standard library does not offer.
"""

import contextlib
import ctypes
import math
import os
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path

MB = 1 << 20
FILE_SIZE_MB = 64
OPEN_FILES = 256
SPARE_PROCESSES = 256  # processes and threads a program may add to those its user already has
COUNT_EVERY_S = 5.0  # counting a user's threads takes milliseconds: not for each program
NOBODY = 65534

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
CAP_SYS_ADMIN, CAP_SYS_RESOURCE = 21, 24
CAPABILITY_VERSION_3 = 0x20080522


LOWEST = 19
AUTOGROUP = Path("/proc/self/autogroup")  # where the kernel shares out time by session; nice counts within one only
AUTOGROUP_TRIES = 10  # the kernel takes one change every 0.1 s, of all users together


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use."""

    timeout_s: float
    memory_mb: int  # address space


class Guard:
    """The layers of one warm parent; its children inherit them and add their own."""

    def __init__(self) -> None:
        self.limits_processes = True
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._tasks = 0
        self._counted_at = -math.inf

    def prepare(self) -> None:
        """Make the warm parent yield to everything else and inherit every orphan of its children."""
        os.nice(LOWEST)  # a judge at normal priority takes more than half of the decoder's speed
        yield_as_a_session()
        self._prctl(PR_SET_CHILD_SUBREAPER, 1)

    def before_fork(self) -> None:
        """Refresh what a child needs to know and could find out only slowly."""
        if self.limits_processes and time.monotonic() - self._counted_at > COUNT_EVERY_S:
            self._tasks = count_tasks(os.getuid() or NOBODY)
            self._counted_at = time.monotonic()

    def confine(self, limits: Limits, folder: str, report: int, parent: int) -> None:
        """Shut this child in: everything but the descriptor `report` is closed. Raises OSError when a layer fails."""
        os.setpgid(0, 0)  # a session of its own would count as much as the decoder's, whatever its nice value
        os.chdir(folder)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
        os.closerange(3, report)
        os.closerange(report + 1, os.sysconf("SC_OPEN_MAX"))
        with contextlib.suppress(OSError):  # where memory ends, the kernel should take the program, not its parent
            Path("/proc/self/oom_score_adj").write_text("1000")
        self._set_limits(limits)
        self._prctl(PR_SET_NO_NEW_PRIVS, 1)
        self._prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which clears it
        if os.getppid() != parent:
            raise ProcessLookupError("the warm parent ended")

    def in_force(self) -> str:
        """One line: the layers that hold, for the manifest and the console."""
        processes = "processes, " if self.limits_processes else ""
        limits = f"rlimits (memory, cpu, {processes}file size, open files, core)"
        return f"own process group, {limits}, private folder, empty environment, no_new_privs, nice 19"

    def _set_limits(self, limits: Limits) -> None:
        cpu_s = math.ceil(limits.timeout_s) + 2  # a backstop: the parent's clock comes first
        table = {
            resource.RLIMIT_AS: limits.memory_mb * MB,
            resource.RLIMIT_CPU: cpu_s,
            resource.RLIMIT_FSIZE: FILE_SIZE_MB * MB,
            resource.RLIMIT_NOFILE: OPEN_FILES,
            resource.RLIMIT_CORE: 0,
        }
        if self.limits_processes:
            table[resource.RLIMIT_NPROC] = self._tasks + SPARE_PROCESSES
        for kind, wanted in table.items():
            hard = resource.getrlimit(kind)[1]
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            # The CPU's soft limit sends SIGXCPU, which says what happened; its hard one, a second later, kills.
            spare = 1 if kind == resource.RLIMIT_CPU and value == wanted else 0
            resource.setrlimit(kind, (value, value + spare if hard == resource.RLIM_INFINITY else value))
        if self.limits_processes and os.getuid() == 0:
            self._become_countable()

    def _become_countable(self) -> None:
        """Root is exempt from the process limit: take another real user and drop the two capabilities that lift it.

        The effective user stays, so that an interpreter under /root can still be read.
        """
        os.setresuid(NOBODY, 0, 0)
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; low words, then high words
        self._call("capget", header, sets)
        keep = ~(1 << CAP_SYS_ADMIN | 1 << CAP_SYS_RESOURCE) & 0xFFFFFFFF
        for word in range(3):
            sets[word] &= keep
        self._call("capset", header, sets)

    def _prctl(self, option: int, value: int) -> None:
        self._call("prctl", option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3)

    def _call(self, name: str, *arguments: object) -> None:
        if self._libc[name](*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")


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


def yield_as_a_session() -> None:
    """Make the whole session, which must be ours, yield to others; without effect where sessions do not count."""
    for _ in range(AUTOGROUP_TRIES):
        try:
            AUTOGROUP.write_text(str(LOWEST))
            return
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:
            return
