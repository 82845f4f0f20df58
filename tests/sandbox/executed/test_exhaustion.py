"""Memory and time that executed programs try to hide are counted."""

import platform
import time

import pytest

from tests.support.executed_runs import endings, execute, python, script

pytestmark = pytest.mark.slow
EXIT = {"x86_64": 60, "aarch64": 93}
needs_exit = pytest.mark.skipif(platform.machine() not in EXIT, reason="the number of exit is not known here")
# The first thread ends, and another fills 1 GB. Its process then looks like a zombie.
AFTER_THE_FIRST_THREAD = f"""
import ctypes, mmap, os, threading, time
def fill():
    time.sleep(0.1)
    pieces = []
    for _ in range(256):
        pieces.append(mmap.mmap(-1, 4 << 20))
        pieces[-1].write(bytes(4 << 20))
    os.write(1, b"hello")
    os._exit(0)
threading.Thread(target=fill).start()
ctypes.CDLL(None).syscall({EXIT.get(platform.machine())}, 0)
"""
# Reads one byte of every 2 MB: no page of its own, but a page table for each.
PAGE_TABLES = """
import mmap
size = 1 << 40
no_reserve = 0x4000
empty = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve, prot=mmap.PROT_READ)
empty.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, size, 2 << 20): empty[at]
print("hello")
"""
SOCKETS = """
import os, socket, time
for _ in range(7):
    if os.fork() == 0: break
pairs = []
try:
    while True:
        pairs.append(socket.socketpair())
        for end in pairs[-1]:
            end.setblocking(False)
            try:
                while True: end.send(bytes(1 << 16))
            except BlockingIOError: pass
except OSError: time.sleep(0.5)
print("hello")
"""
SWARM = """
import os, time
for _ in range(40):
    if os.fork() == 0:
        kept = bytes(20 << 20).replace(b"\\0", b"x")
        time.sleep(9)
time.sleep(9)
"""
# The parent of a child that shares its memory waits as if for a disk.
VFORK = "import ctypes, time\nctypes.CDLL(None).vfork()\ntime.sleep(60)"
# No parent waits for these children, so their CPU time is lost.
UNSEEN_CHILDREN = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if os.fork() == 0:
        end = time.monotonic() + 0.003
        while time.monotonic() < end: pass
        os._exit(0)
    time.sleep(0.003)
"""
STOPPED = "kill -STOP -1; kill -STOP $$"
SESSION = """
import os
before = os.getsid(0)
if os.fork() == 0:
    os.setsid()
    if os.getsid(0) == before: print("hello")
"""


@needs_exit
def test_memory_counts_after_the_first_thread_has_ended() -> None:
    assert outcomes_of(AFTER_THE_FIRST_THREAD) == ["OUT_OF_MEMORY"]


def test_page_tables_and_full_sockets_count_as_memory() -> None:
    assert outcomes_of(PAGE_TABLES, SOCKETS) == ["OUT_OF_MEMORY", "OUT_OF_MEMORY"]


def test_many_small_processes_share_one_memory_limit() -> None:
    assert outcomes_of(SWARM) == ["OUT_OF_MEMORY"]


@pytest.mark.parametrize("text", [VFORK, UNSEEN_CHILDREN], ids=["vfork", "children that no parent waits for"])
def test_a_program_that_hides_its_time_ends_soon(text: str) -> None:
    began = time.monotonic()
    (found,) = execute(python(text), timeout_s=0.3)
    assert found["outcome"] == "TIMED_OUT"
    assert time.monotonic() - began < 15  # without namespaces, the second takes 18 s


def test_a_stopped_program_is_charged_all_its_time() -> None:
    assert endings(script(STOPPED), timeout_s=0.5) == [("TIMED_OUT", "case 1 of 1: Time limit exceeded: 0.5 s")]


def test_a_program_stays_in_the_session_of_its_judge() -> None:
    assert endings(python(SESSION)) == [("PASSED", "")]


def test_open_files_and_processes_cannot_be_raised() -> None:
    text = "ulimit -n 257 2> /dev/null || ulimit -u 257 2> /dev/null || echo hello"
    assert endings(script(text, run=["/bin/bash"])) == [("PASSED", "")]


def outcomes_of(*texts: str) -> list[str]:
    return [answer["outcome"] for answer in execute(*map(python, texts), memory_mb=256)]
