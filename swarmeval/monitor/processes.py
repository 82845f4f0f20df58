"""CPU, memory, threads and context switches of groups of processes, from /proc, as cheaply as that can be had.

Read with single system calls: at one sample a second, dozens of processes must cost next to nothing.
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
READ_BYTES = 8192  # more than any of the files read here has


@dataclass(frozen=True, slots=True)
class Use:
    """What a group of processes uses. Switches count since the processes began, those of ended threads as last seen."""

    cpu_pct: float = 0.0  # since the reading before; 100 is one core
    rss_mb: float = 0.0  # pages that processes share count in each
    processes: int = 0
    threads: int = 0
    ctx_voluntary: int = 0
    ctx_involuntary: int = 0


def context_switches() -> tuple[int, int]:
    """(voluntary, involuntary) context switches of this process since it began, all its threads together."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nvcsw, usage.ru_nivcsw


@dataclass(slots=True)
class _Sums:
    """What one reading adds up."""

    rss_pages: int = 0
    processes: int = 0
    threads: int = 0
    ticks: dict[int, int] = field(default_factory=dict)  # by the process that was asked for, its tree included
    switches: dict[int, tuple[int, int]] = field(default_factory=dict)  # by thread


class ProcessGroup:
    """Some processes, with `trees` also all that descends from them, each of which may end at any time."""

    def __init__(self, trees: bool = False) -> None:
        self._trees = trees
        self._read_at: float | None = None
        self._ticks: dict[int, int] = {}
        self._switches: dict[int, tuple[int, int]] = {}
        self._voluntary = self._involuntary = 0

    def use(self, pids: Iterable[int]) -> Use:
        """What these processes use now. Those that have ended add nothing, but for the switches they made."""
        now, sums = time.monotonic(), _Sums()
        for pid in pids:
            sums.ticks[pid] = sum(self._add(one, sums) for one in (tree(pid) if self._trees else (pid,)))
        # One that is new has computed all it has since the reading before.
        ticks = sum(max(0, ticks - self._ticks.get(pid, 0)) for pid, ticks in sums.ticks.items())
        seconds = now - self._read_at if self._read_at is not None else 0.0
        self._read_at, self._ticks = now, sums.ticks
        self._count(sums.switches)
        cpu_pct = 100 * ticks / TICKS / seconds if seconds else 0.0
        rss_mb = sums.rss_pages * PAGE_MIB
        return Use(cpu_pct, rss_mb, sums.processes, sums.threads, self._voluntary, self._involuntary)

    def _add(self, pid: int, sums: _Sums) -> int:
        """Add a process to the sums; gives its CPU time, in a tree also that of descendants that have ended."""
        stat = read(f"/proc/{pid}/stat")
        if not stat:
            return 0
        fields = stat[stat.rfind(b")") + 2 :].split()  # of proc(5)'s, these begin with the third
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
            if before[0] > voluntary or before[1] > involuntary:  # another thread has its number now
                before = (0, 0)
            self._voluntary += voluntary - before[0]
            self._involuntary += involuntary - before[1]
        self._switches = counts


def tree(pid: int) -> Iterator[int]:
    """A process and all that descends from it."""
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += map(int, read(f"/proc/{one}/task/{one}/children").split())  # what its main thread forked


def switches(status: bytes) -> tuple[int, int] | None:
    """(voluntary, involuntary) of a /proc/.../status; None for one that has ended."""
    _, separator, rest = status.rpartition(b"\nvoluntary_ctxt_switches:")
    if not separator:
        return None
    voluntary, _, involuntary = rest.partition(b"\nnonvoluntary_ctxt_switches:")
    return int(voluntary), int(involuntary)


def memory_mb(pid: int) -> tuple[float, float] | None:
    """(resident, most that ever was) MiB of a process; None when it has ended."""
    lines = dict(line.split(b":", 1) for line in read(f"/proc/{pid}/status").splitlines() if b":" in line)
    try:
        resident, peak = (int(lines[key].split()[0]) / 1024 for key in (b"VmRSS", b"VmHWM"))
    except KeyError:  # a zombie has neither
        return None
    return resident, peak


def read(path: str) -> bytes:
    """A small file of /proc; empty when its process has ended."""
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
    """A reading that takes at most a share of one core: made at every call, or as seldom as its cost demands."""

    def __init__(self, make: Callable[[], T], share: float) -> None:
        self._make = make
        self._share = share
        self._made: list[T] = []
        self._due = 0.0

    def __call__(self) -> T:
        """The reading, or the one before where it is too early for another."""
        if not self._made or time.monotonic() >= self._due:
            began = time.thread_time()
            self._made = [self._make()]
            self._due = time.monotonic() + (time.thread_time() - began) / self._share
        return self._made[0]
