"""Capacity of covert channels between runs: bits per second of every known channel, and 0 for closed ones.

Sender and receiver know the same random message. The receiver reports how many bits it decoded wrongly.
`-s` shows the table that SECURITY.md publishes.
"""

import asyncio
import json
import math
import os
import random
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from swarmeval.records import Execution, Program
from swarmeval.sandbox.runner import Sandbox
from tests.support.sandbox_runs import MEMORY_MB

LIMIT_S = 20.0
ONE_IN = 10_000  # rate of false alarms, in which guessing looks like a channel
ROUNDS = 16
PREFACE = """
import os, random, statistics, time
N, SEED, START, PATH = {bits}, {seed}, {start}, {path!r}
SENT = random.Random(SEED).choices((0, 1), k=N)
HEARD = [0] * N
LIBRARY = os.path.dirname(os.__file__)
def slots(length_s):
    for n in range(N):
        time.sleep(max(0, START + n * length_s - time.time()))
        yield n, START + (n + 1) * length_s
"""
REPORT = "\nraise ValueError(sum(a != b for a, b in zip(SENT, HEARD)))"


@dataclass(frozen=True, slots=True)
class Way:
    sender: str
    receiver: str
    bits: int
    most: float  # most bits per second that it may carry: 0 for a closed channel
    rounds: int = 1
    together: bool = False  # run at the same time on two wardens, otherwise one after the other


NAMES = """
def look(n, k): os.access(f"{LIBRARY}/{SEED}-{n}-{k}", 0)
def timed(n):
    times = []
    for k in range(5):
        began = time.perf_counter()
        look(n, k)
        times.append(time.perf_counter() - began)
    return statistics.median(times)
"""
PAGES = """
file = os.open(PATH, os.O_RDONLY)
def timed(n):
    began = time.perf_counter()
    os.pread(file, 1, n << 18)
    return time.perf_counter() - began
"""
SOCKETS = """
def next_batch():  # each processor draws 1024 numbers at a time from one counter
    def burn():
        ends = [os.pipe() for _ in range(100)]
        number = os.fstat(ends[0][0]).st_ino - 1 >> 10
        for pair in ends: os.close(pair[0]), os.close(pair[1])
        return number
    first = burn()
    while (number := burn()) == first: pass
    return number
CODE = int("".join(map(str, SENT)), 2)
"""
LOCKS = """
import fcntl, struct
file = os.open(os.__file__, os.O_RDONLY)
time.sleep(max(0, START - time.time()))
"""
FUTEX = """
import ctypes
libc = ctypes.CDLL(None)
page = ctypes.cast(libc.abs, ctypes.c_void_p)
stack = ctypes.create_string_buffer(1 << 16)
top = ctypes.c_void_p(ctypes.addressof(stack) + (1 << 16) - 64 & ~15)
"""
WAYS = {
    "names that do not exist": Way(
        NAMES + "for n in range(N):\n    for k in range(5 * SENT[n]): look(n, k)",
        NAMES + "cold = statistics.median(timed(f'x{n}') for n in range(300))\n"
        "warm = statistics.median(timed(f'x{n}') for n in range(300))\n"
        "HEARD = [int(timed(n) < (cold + warm) / 2) for n in range(N)]",
        bits=4096, most=1e6,
    ),
    "files in memory": Way(
        PAGES + "for n in range(N):\n    if SENT[n]: timed(n)",
        PAGES + "times = [timed(n) for n in range(N)]\n"
        "warm = statistics.median(timed(n) for n in range(N))\nHEARD = [int(one < 12 * warm) for one in times]",
        bits=64, most=1e5,
    ),
    "numbers of pipes": Way(
        SOCKETS + "while (next_batch() - 4 * CODE) % 64 > 1: pass",
        SOCKETS + "HEARD = [int(bit) for bit in format(next_batch() % 64 // 4, '04b')]",
        bits=4, most=1e3, rounds=6,
    ),
    "load of the processor": Way(
        "import threading, zlib\nuntil, block = 0, os.urandom(1 << 14)\n"
        "def work():\n"
        "    while until >= 0:\n"
        "        if time.time() < until: zlib.compress(block)\n"
        "        else: time.sleep(0.001)\n"
        "for _ in range(2 * os.cpu_count()): threading.Thread(target=work).start()\n"
        "for n, end in slots(0.02): until = end if SENT[n] else 0\n"
        "time.sleep(0.02)\nuntil = -1",
        "done = []\n"
        "for n, end in slots(0.02):\n"
        "    done.append(0)\n"
        "    while time.time() < end: done[-1] += 1\n"
        "middle = statistics.median(done)\nHEARD = [int(one < middle) for one in done]",
        bits=64, most=1e4, together=True,
    ),
    "locks on library files": Way(
        LOCKS + "for n in range(N):\n    try: SENT[n] and fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, n)\n"
        "    except OSError: pass\ntime.sleep(0.6)",
        LOCKS + "time.sleep(0.3)\nfor n in range(N):\n"
        "    ask = struct.pack('hhqqi', fcntl.F_WRLCK, 0, n, 1, 0) + bytes(4)\n"
        "    try: HEARD[n] = int(fcntl.fcntl(file, fcntl.F_GETLK, ask)[:2] != struct.pack('h', fcntl.F_UNLCK))\n"
        "    except OSError: pass",
        bits=128, most=0, together=True,
    ),
    "threads that end on a library's page": Way(
        FUTEX + "for n, end in slots(0.01):\n"
        "    time.sleep(0.005)\n"
        "    if SENT[n]: libc.clone(libc.abs, top, 0x250F00, None, None, None, page)",
        FUTEX + "for n, end in slots(0.01):\n"
        "    wait = (ctypes.c_long * 2)(0, int(max(0, end - time.time()) * 1e9))\n"
        "    HEARD[n] = int(libc.syscall(202, page, 0, ctypes.c_int.from_address(page.value), wait) == 0)",
        bits=64, most=0, together=True,
    ),
}  # fmt: skip


# One run does all of this or nothing; the next run reads all counters.
BUSY_RUN = """
import threading
for n in range({times}):
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    open(f"../{{n}}", "w").close()
"""
LOOK = """
import ctypes, os, resource, struct, threading, time
def fresh_thread():
    numbers = []
    thread = threading.Thread(target=lambda: numbers.append(threading.get_native_id()))
    thread.start()
    thread.join()
    return numbers[0]
def fresh_file():
    open("x", "w").close()
    return os.stat("x").st_ino
def used():
    found = os.statvfs(".")
    return found.f_files - found.f_ffree
def machine():
    found = ctypes.create_string_buffer(112)
    if ctypes.CDLL(None).sysinfo(found): raise OSError
    return struct.unpack_from("10L", found)[5]
def reading(look):
    try: return int(look())
    except OSError: return 0
raise ValueError([reading(look) for look in (
    fresh_thread, fresh_file, lambda: len(os.listdir("..")), used,
    lambda: 1e9 * time.clock_gettime(~1 << 3 | 2), lambda: 1e6 * os.getloadavg()[0], machine,
    lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt, lambda: int(open("/proc/stat").read().split()[1]),
)])
"""
LEFT_BEHIND = ("numbers of processes", "numbers of files", "files left", "space left")  # visible within one run
COUNTED = (*LEFT_BEHIND, "the jail's clock", "load average", "free memory", "page faults", "/proc/stat")


def capacity(bits: int, errors: int, seconds: float) -> float:
    """Bits per second of a binary symmetric channel; 0 if guessing could have done as well."""
    if ONE_IN * sum(math.comb(bits, k) for k in range(errors + 1)) > 2**bits:
        return 0.0
    rate = errors / bits
    entropy = -sum(p * math.log2(p) for p in (rate, 1 - rate) if p)
    return (1 - entropy) * bits / seconds


def test_capacity_is_all_bits_without_errors_and_none_by_guessing() -> None:
    assert capacity(128, 0, 2.0) == 64.0
    assert capacity(128, 64, 2.0) == capacity(8, 0, 2.0) == 0.0
    assert 0 < capacity(128, 20, 2.0) < capacity(128, 10, 2.0) < 64.0


def said(execution: Execution) -> str:
    """The text of the ValueError with which a receiver reports."""
    found = re.match(r"ValueError: (\d+|\[.*?\]) ", execution.detail)
    assert found, execution
    return found[1]


async def send(sandbox: Sandbox, way: Way, path: Path | None = None, lead_s: float = 1.0) -> float:
    """The measured capacity of a channel in bits per second."""
    bits, errors, seconds = 0, 0, 0.0
    for _ in range(way.rounds):
        started = time.time() + lead_s * way.together
        preface = PREFACE.format(bits=way.bits, seed=random.getrandbits(32), start=started, path=str(path))
        sender, receiver = Program(preface + way.sender), Program(preface + way.receiver + REPORT)
        if path is not None:
            throw_out(path)
        if way.together:
            _, found = await asyncio.gather(sandbox.run(sender), sandbox.run(receiver))
        else:
            await sandbox.run(sender)
            found = await sandbox.run(receiver)
        bits, errors, seconds = bits + way.bits, errors + int(said(found)), seconds + time.time() - started
    return capacity(bits, errors, seconds)


def throw_out(path: Path) -> None:
    """Write a file to disk and drop it from the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def count(sandbox: Sandbox, is_one_program: bool) -> dict[str, float]:
    """The capacity of each counter in COUNTED between runs; within one program, it checks the method."""
    sent = [n % 2 for n in range(ROUNDS)]
    random.shuffle(sent)
    readings: list[list[int]] = []
    started = time.time()
    for bit in sent:
        busy = BUSY_RUN.format(times=100 * bit)
        if not is_one_program:
            await sandbox.run(Program(busy))
        found = await sandbox.run(Program(busy + LOOK if is_one_program else LOOK))
        readings.append(json.loads(said(found)))
    seconds = time.time() - started
    carried = {}
    for name, numbers in zip(COUNTED, zip(*readings, strict=True), strict=True):
        steps = [after - before for before, after in pairwise((numbers[0], *numbers))]
        errors = min(wrong(sent, numbers), wrong(sent, steps))
        carried[name] = capacity(ROUNDS, errors, seconds)
    return carried


def wrong(sent: Sequence[int], numbers: Sequence[int]) -> int:
    """The number of bits decoded wrongly if a number above the middle means 1."""
    middle = (min(numbers) + max(numbers)) / 2
    return sum(bit != (number > middle) for bit, number in zip(sent, numbers, strict=True))


@pytest.fixture(scope="module", autouse=True)
def all_layers() -> None:
    """Skip if a layer is missing: the claims hold only with all layers."""

    async def missing() -> dict[str, str]:
        async with Sandbox(1, 1.0, MEMORY_MB) as sandbox:
            return sandbox.missing()

    if reasons := asyncio.run(missing()):
        pytest.skip(f"this machine lacks {reasons}")


@pytest.mark.slow
def test_a_run_can_tell_another_no_more_than_is_published(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(os.urandom(64 << 18))

    async def measure() -> dict[str, float]:
        async with Sandbox(2, LIMIT_S, MEMORY_MB, shown=[str(path)]) as sandbox:
            return {name: await send(sandbox, way, path if way.receiver.startswith(PAGES) else None)
                    for name, way in WAYS.items()}  # fmt: skip

    carried = asyncio.run(measure())
    for name, found in carried.items():
        sys.stdout.write(f"{name:40}{found:12.1f} bit/s\n")
    assert {name: found for name, found in carried.items() if found > WAYS[name].most} == {}


@pytest.mark.slow
def test_nothing_that_a_jail_counts_tells_of_its_last_program() -> None:
    async def measure(is_one_program: bool) -> dict[str, float]:
        async with Sandbox(1, LIMIT_S, MEMORY_MB) as sandbox:
            return await count(sandbox, is_one_program)

    assert asyncio.run(measure(is_one_program=False)) == dict.fromkeys(COUNTED, 0.0)
    heard = {name for name, found in asyncio.run(measure(is_one_program=True)).items() if found}
    assert heard == set(LEFT_BEHIND), "the method hears what there is to hear"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, way in WAYS.items() if not way.most])
def test_what_is_closed_would_be_heard_without_the_layers(name: str) -> None:
    async def measure() -> float:
        async with Sandbox(2, LIMIT_S, MEMORY_MB, "none") as sandbox:
            for lead_s in (0.5, 2.0, 8.0):  # on a busy machine, programs start late
                if found := await send(sandbox, WAYS[name], lead_s=lead_s):
                    return found
        return 0.0

    assert asyncio.run(measure()) > 0
