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
RUNNING = b"R"  # on a core or waiting for one
ON_DISK = b"D"  # waiting for a disk, or for a child that shares its memory (vfork)
ENDED = (b"Z", b"X")
USED = (b"RssAnon:", b"RssShmem:", b"VmSwap:", b"VmPTE:")
PROC = "/proc"
KB_PER_MB = 1024
LEAST_TICK_S, LONGEST_TICK_S = 0.004, 0.05  # between two samples
FASTEST_MB_PER_S = 8192  # at which a program may use memory between two samples
BACKSTOP = 60  # wall time of a starved program, as a multiple of its limit
FORKING_BACKSTOP = 10  # the same while it starts processes: the time of a child that no parent waits for is unknown
FREE_DISK = 4  # time of waiting for a disk that is not charged, as a multiple of the limit
FREE_SOCKETS, SOCKET_KB = 64, 256  # more sockets count with all that they can hold (measured)


@dataclass(frozen=True, slots=True)
class Sample:
    """The processes of a program at one moment."""

    memory_mb: float = 0.0  # a page shared by two processes counts twice
    cpu_s: float = 0.0  # of the processes and of their children that a parent has waited for
    is_running: bool = False  # whether a thread runs or waits for a core, rather than sleeps
    is_on_disk: bool = False  # whether a thread waits for a disk
    last_pid: bytes = b""  # the last process number given; empty outside namespaces


def sample(proc: int | None, jail: int) -> Sample:
    """Measure the processes that the jail's process has started, directly or indirectly.

    `proc`: a descriptor of the /proc of the jail's own namespaces, in which all other processes belong to programs;
    None: the machine's.
    """
    memory_kb, cpu_s, states = 0, 0.0, set[bytes]()
    for pid in pids(proc, jail):
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended in the meantime
            fields = stat(proc, pid)
            cpu_s += sum(map(int, fields[11:15])) / TICKS_PER_S  # utime, stime, cutime, cstime
            threads = {pid: fields[0]}
            if fields[0] != RUNNING and int(fields[17]) > 1:
                threads |= states_of_threads(proc, pid)
            states |= set(threads.values())
            # A process lives on after its first thread has ended, whose files then no longer show its memory.
            living = [name for name, state in threads.items() if state not in ENDED]
            if living:
                memory_kb += used_kb(read(proc, f"{living[0]}/status"))
    last_pid = b""
    if proc is not None:
        memory_kb += SOCKET_KB * max(0, int(read(proc, "net/sockstat").split()[2]) - FREE_SOCKETS)
        last_pid = read(proc, "loadavg").split()[-1]
    return Sample(memory_kb / KB_PER_MB, cpu_s, RUNNING in states, ON_DISK in states, last_pid)


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


def states_of_threads(proc: int | None, pid: str) -> dict[str, bytes]:
    """The states of a process's threads by their names in /proc. The state of a process is that of its first thread."""
    folder = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc) if proc is not None else None
    states: dict[str, bytes] = {}
    try:
        for thread in os.scandir(f"{PROC}/{pid}/task" if folder is None else folder):
            with contextlib.suppress(OSError, IndexError):  # it has ended in the meantime
                states[f"{pid}/task/{thread.name}"] = stat(proc, f"{pid}/task/{thread.name}")[0]
    finally:
        if folder is not None:
            os.close(folder)
    return states


def stat(proc: int | None, name: str) -> list[bytes]:
    """The fields of a stat file after the name of the program, from the state on (see proc(5))."""
    return read(proc, f"{name}/stat").rpartition(b")")[2].split()


def used_kb(status: bytes) -> int:
    """Memory of a process without the pages of files. Page tables of a huge map without pages count too."""
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith(USED))


def read(proc: int | None, name: str) -> bytes:
    descriptor = os.open(f"{PROC}/{name}" if proc is None else name, os.O_RDONLY, dir_fd=proc)
    try:
        return os.read(descriptor, 1 << 14)
    finally:
        os.close(descriptor)


class ResourceMeter:
    """Charges a command for its time, and notes the most memory that its processes were seen to use.

    Time in which no process ran is charged in full, other time by the CPU time used, up to the time itself. So a
    starved program is not charged, and neither are several threads at once, nor some waiting for a disk.
    """

    def __init__(self, proc: int | None, jail: int, timeout_s: float, memory_mb: int) -> None:
        self.started = self._seen = time.monotonic()
        self.peak_mb = 0.0
        self._proc, self._jail = proc, jail
        self._timeout_s, self._memory_mb = timeout_s, memory_mb
        self._charged_s = self._disk_s = 0.0
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
        self._charged_s += min(elapsed_s, self._charge_s(current, elapsed_s))
        self._last, self._seen = current, now
        self.peak_mb = max(self.peak_mb, current.memory_mb)
        if current.memory_mb > self._memory_mb:
            return "memory"
        return "limit" if max(self._charged_s, (now - self.started) / BACKSTOP) >= self._timeout_s else ""

    def _charge_s(self, current: Sample, elapsed_s: float) -> float:
        computed_s = max(0.0, current.cpu_s - self._last.cpu_s)
        if current.is_running:
            has_forked = current.last_pid != self._last.last_pid
            return max(computed_s, elapsed_s / FORKING_BACKSTOP) if has_forked else computed_s
        if current.is_on_disk and self._disk_s < FREE_DISK * self._timeout_s:
            self._disk_s += elapsed_s
            return computed_s
        return elapsed_s
