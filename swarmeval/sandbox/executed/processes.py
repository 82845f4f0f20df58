"""Measures all processes of an executed program together: their memory, and the time that is charged to them.

A sample reads a few small files in /proc for each process, because cgroups need rights that a user rarely has.
"""

import contextlib
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
RUNNING = (b"R", b"D")  # on a core or waiting for one, or for a disk
ENDED = (b"Z", b"X")
PROC = "/proc"
KB_PER_MB = 1024
LEAST_TICK_S, LONGEST_TICK_S = 0.004, 0.05  # between two samples
FASTEST_MB_PER_S = 8192  # at which a program may use memory between two samples
BACKSTOP = 60  # wall time of a starved program, as a multiple of its limit


@dataclass(frozen=True, slots=True)
class Sample:
    """The processes of a program at one moment."""

    memory_mb: float = 0.0  # anonymous and shared memory in RAM; a page shared by two processes counts twice
    cpu_s: float = 0.0  # of the processes and of their children that have ended
    is_running: bool = False  # whether a thread runs or waits for a core, rather than sleeps


def sample(proc: int | None, jail: int) -> Sample:
    """Measure the processes that the jail's process has started, directly or indirectly.

    `proc`: a descriptor of the /proc of the jail's own namespaces, in which all other processes belong to programs;
    None: the machine's.
    """
    memory_kb, cpu_s, is_running = 0, 0.0, False
    for pid in pids(proc, jail):
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended in the meantime
            fields = stat(proc, pid)
            cpu_s += sum(map(int, fields[11:15])) / TICKS_PER_S  # utime, stime, cutime, cstime
            if fields[0] not in ENDED:
                memory_kb += resident_kb(read(proc, f"{pid}/status"))
                is_running = (
                    is_running or fields[0] in RUNNING or (int(fields[17]) > 1 and has_running_thread(proc, pid))
                )
    return Sample(memory_kb / KB_PER_MB, cpu_s, is_running)


def pids(proc: int | None, jail: int) -> Iterator[str]:
    """The processes below the jail's."""
    names = [entry.name for entry in os.scandir(PROC if proc is None else proc) if entry.name.isdecimal()]
    if proc is not None:
        yield from (name for name in names if int(name) != jail)
        return
    parents: dict[str, str] = {}
    for name in names:
        with contextlib.suppress(OSError, IndexError):
            parents[name] = stat(None, name)[1].decode()
    found, wave = set[str](), {str(jail)}
    while wave:
        wave = {name for name, parent in parents.items() if parent in wave} - found
        found |= wave
    yield from found


def has_running_thread(proc: int | None, pid: str) -> bool:
    """Whether any thread of a process runs or waits for a core. The state of a process is that of its first thread."""
    folder = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc) if proc is not None else None
    try:
        threads = os.scandir(f"{PROC}/{pid}/task" if folder is None else folder)
        return any(stat(proc, f"{pid}/task/{thread.name}")[0] in RUNNING for thread in threads)
    finally:
        if folder is not None:
            os.close(folder)


def stat(proc: int | None, name: str) -> list[bytes]:
    """The fields of a stat file after the name of the program, from the state on (see proc(5))."""
    return read(proc, f"{name}/stat").rpartition(b")")[2].split()


def resident_kb(status: bytes) -> int:
    """Anonymous and shared memory of a process, without the pages of files."""
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith((b"RssAnon:", b"RssShmem:")))


def read(proc: int | None, name: str) -> bytes:
    descriptor = os.open(f"{PROC}/{name}" if proc is None else name, os.O_RDONLY, dir_fd=proc)
    try:
        return os.read(descriptor, 1 << 14)
    finally:
        os.close(descriptor)


class ResourceMeter:
    """Charges a command for its time, and notes the most memory that its processes were seen to use.

    Time in which no process ran is charged in full, other time by the CPU time used, up to the time itself. So a
    starved program is not charged, and neither are several threads at once.
    """

    def __init__(self, proc: int | None, jail: int, timeout_s: float, memory_mb: int) -> None:
        self.started = self._seen = time.monotonic()
        self.peak_mb = 0.0
        self._proc, self._jail = proc, jail
        self._timeout_s, self._memory_mb = timeout_s, memory_mb
        self._charged_s = 0.0
        self._last = Sample()

    def wait_s(self) -> float:
        """Time until the next sample: shorter, the less memory is left.

        Random, so that a program cannot be awake at each sample: sleep is only charged if it is seen.
        """
        left_mb = self._memory_mb - self._last.memory_mb
        tick_s = max(LEAST_TICK_S, min(LONGEST_TICK_S, left_mb / FASTEST_MB_PER_S, self._timeout_s / 10))
        return tick_s * random.SystemRandom().uniform(0.5, 1)

    def exceeded(self) -> str:
        """Take a sample; return "memory" or "limit" if it has been reached, else ""."""
        now = time.monotonic()
        elapsed_s = now - self._seen
        if elapsed_s < LEAST_TICK_S / 2:
            return ""
        current = sample(self._proc, self._jail)
        computed_s = max(0.0, current.cpu_s - self._last.cpu_s)
        self._charged_s += min(elapsed_s, computed_s) if current.is_running else elapsed_s
        self._last, self._seen = current, now
        self.peak_mb = max(self.peak_mb, current.memory_mb)
        if current.memory_mb > self._memory_mb:
            return "memory"
        return "limit" if max(self._charged_s, (now - self.started) / BACKSTOP) >= self._timeout_s else ""
