"""CPU, memory, threads and context switches of groups of processes, read from /proc.

Reads each file with a single system call, because dozens of processes are sampled every second.
"""

import contextlib
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1024 * 1024)
READ_BYTES = 8192  # larger than any file read here


@dataclass(frozen=True, slots=True)
class Use:
    """Resource use of a group of processes. Context switches are totals and include ended threads."""

    cpu_pct: float = 0.0  # since the previous reading; 100 is one core
    rss_mb: float = 0.0  # shared pages count in every process
    processes: int = 0
    threads: int = 0
    ctx_voluntary: int = 0
    ctx_involuntary: int = 0


def context_switches() -> tuple[int, int]:
    """Total (voluntary, involuntary) context switches of this process, over all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nvcsw, usage.ru_nivcsw


@dataclass(slots=True)
class _Sums:
    """Sums of one reading."""

    rss_pages: int = 0
    processes: int = 0
    threads: int = 0
    ticks: dict[int, int] = field(default_factory=dict)  # per requested process, including its descendants
    switches: dict[int, tuple[int, int]] = field(default_factory=dict)  # per thread


class ProcessGroup:
    """A group of processes, with `trees` also their descendants. Any of them may end at any time."""

    def __init__(self, trees: bool = False) -> None:
        self._trees = trees
        self._read_at: float | None = None
        self._ticks: dict[int, int] = {}
        self._switches: dict[int, tuple[int, int]] = {}
        self._voluntary = self._involuntary = 0

    def use(self, pids: Iterable[int]) -> Use:
        """Measure these processes. Ended processes contribute only their context switches."""
        now, sums = time.monotonic(), _Sums()
        for pid in pids:
            sums.ticks[pid] = sum(self._add(one, sums) for one in (tree(pid) if self._trees else (pid,)))
        # A new process has used all of its CPU time since the previous reading.
        ticks = sum(max(0, ticks - self._ticks.get(pid, 0)) for pid, ticks in sums.ticks.items())
        seconds = now - self._read_at if self._read_at is not None else 0.0
        self._read_at, self._ticks = now, sums.ticks
        self._count(sums.switches)
        cpu_pct = 100 * ticks / TICKS / seconds if seconds else 0.0
        rss_mb = sums.rss_pages * PAGE_MIB
        return Use(cpu_pct, rss_mb, sums.processes, sums.threads, self._voluntary, self._involuntary)

    def _add(self, pid: int, sums: _Sums) -> int:
        """Add a process to the sums and return its CPU ticks, in a tree including ended descendants."""
        stat = read(f"/proc/{pid}/stat")
        if not stat:
            return 0
        fields = stat[stat.rfind(b")") + 2 :].split()  # from field 3 of proc(5) on
        threads = int(fields[17])
        sums.rss_pages += int(fields[21])
        sums.processes += 1
        sums.threads += threads
        for thread, path in self._threads(pid, threads):
            if (made := switches(read(path))) is not None:
                sums.switches[thread] = made
        return sum(map(int, fields[11 : 15 if self._trees else 13]))

    def _threads(self, pid: int, count: int) -> Iterator[tuple[int, str]]:
        if count == 1:
            yield pid, f"/proc/{pid}/status"
            return
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 (a quarter of iterdir's cost)
                yield int(thread), f"/proc/{pid}/task/{thread}/status"

    def _count(self, counts: dict[int, tuple[int, int]]) -> None:
        for thread, (voluntary, involuntary) in counts.items():
            before = self._switches.get(thread, (0, 0))
            if before[0] > voluntary or before[1] > involuntary:  # a new thread has reused the id
                before = (0, 0)
            self._voluntary += voluntary - before[0]
            self._involuntary += involuntary - before[1]
        self._switches = counts


def tree(pid: int) -> Iterator[int]:
    """Yield a process and all its descendants."""
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += map(int, read(f"/proc/{one}/task/{one}/children").split())  # children of its main thread


def switches(status: bytes) -> tuple[int, int] | None:
    """Parse (voluntary, involuntary) context switches from /proc/.../status; None if the process has ended."""
    _, separator, rest = status.rpartition(b"\nvoluntary_ctxt_switches:")
    if not separator:
        return None
    voluntary, _, involuntary = rest.partition(b"\nnonvoluntary_ctxt_switches:")
    return int(voluntary), int(involuntary)


def memory_mb(pid: int) -> tuple[float, float] | None:
    """(current, peak) resident memory of a process in MiB; None if it has ended."""
    lines = dict(line.split(b":", 1) for line in read(f"/proc/{pid}/status").splitlines() if b":" in line)
    try:
        resident, peak = (int(lines[key].split()[0]) / 1024 for key in (b"VmRSS", b"VmHWM"))
    except KeyError:  # a zombie has neither
        return None
    return resident, peak


def read(path: str) -> bytes:
    """Read a small file of /proc; empty if its process has ended."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, READ_BYTES)
    except OSError:
        return b""
    finally:
        os.close(fd)


class ThrottledReading(Generic[T]):
    """Limits the cost of a reading to a share of one core by reusing the previous result."""

    def __init__(self, make: Callable[[], T], share: float) -> None:
        self._make = make
        self._share = share
        self._made: list[T] = []
        self._due = 0.0

    def __call__(self) -> T:
        """A new reading, or the previous one if a new one would exceed the limit."""
        if not self._made or time.monotonic() >= self._due:
            began = time.thread_time()
            self._made = [self._make()]
            self._due = time.monotonic() + (time.thread_time() - began) / self._share
        return self._made[0]
