"""Claims about reading processes: trees, threads, processes that end, and the cost of reading."""

import os
import subprocess
import sys
import threading
import time

import pytest

from swarmeval.monitor.processes import ProcessGroup, ThrottledReading, context_switches, memory_mb, switches, tree

PARENT = """
import subprocess, sys
def child(code):
    return subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
sleeper = child("print('here', flush=True); input()")
sleeper.stdout.readline()  # before, it may have no memory yet
for line in sys.stdin:
    if line == "work\\n":
        child("import time\\nwhile time.process_time() < 0.3: pass").wait()
    print("done", flush=True)
sleeper.communicate(b"\\n")
"""


@pytest.mark.slow
def test_a_tree_counts_its_descendants_and_what_ended_ones_computed() -> None:
    command = [sys.executable, "-S", "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        said = parent.stdout
        assert parent.stdin is not None
        assert said is not None

        def ask(word: str) -> None:
            print(word, file=parent.stdin, flush=True)
            said.readline()

        ask("begin")
        whole, alone, began = ProcessGroup(trees=True), ProcessGroup(), time.monotonic()
        before = whole.use([parent.pid]), alone.use([parent.pid])
        assert [use.processes for use in before] == [2, 1]
        assert before[0].rss_mb > before[1].rss_mb > 1
        assert len(list(tree(parent.pid))) == 2
        ask("work")
        after, seconds = whole.use([parent.pid]), time.monotonic() - began
        assert after.processes == 2
        assert 0.25 < after.cpu_pct / 100 * seconds < 0.5  # the ended child used 0.3 s
        assert alone.use([parent.pid]).cpu_pct / 100 * seconds < 0.1
        assert after.ctx_voluntary > before[0].ctx_voluntary > 0
        parent.stdin.close()
    ended = whole.use([parent.pid])
    assert (ended.processes, ended.threads, ended.rss_mb, ended.cpu_pct) == (0, 0, 0.0, 0.0)
    assert ended.ctx_voluntary == after.ctx_voluntary


def test_switches_of_all_threads_count_and_those_of_ended_ones_stay() -> None:
    group, stop = ProcessGroup(), threading.Event()
    ping, pong = threading.Semaphore(0), threading.Semaphore(0)

    def answer() -> None:
        for _ in range(200):
            ping.acquire()
            pong.release()
        stop.wait()

    before = group.use([os.getpid()]), context_switches()
    thread = threading.Thread(target=answer)
    thread.start()
    for _ in range(200):
        ping.release()
        pong.acquire()
    during = group.use([os.getpid()])
    stop.set()
    thread.join()
    after = group.use([os.getpid()]), context_switches()
    assert during.threads == before[0].threads + 1  # the kernel may still list a joined thread
    assert after[0].ctx_voluntary >= during.ctx_voluntary >= before[0].ctx_voluntary + 50
    assert after[1][0] - before[1][0] >= after[0].ctx_voluntary - before[0].ctx_voluntary
    assert after[1][1] >= before[1][1]


def test_of_a_process_that_never_was_nothing_is_known() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as gone:
        gone.wait()
    assert ProcessGroup().use([gone.pid]).processes == 0
    assert memory_mb(gone.pid) is None
    assert list(tree(gone.pid)) == [gone.pid]
    assert switches(b"") is None


def test_the_most_that_a_process_held_stays_known() -> None:
    before = memory_mb(os.getpid())
    held = bytearray(64 << 20)
    held[::4096] = b"x" * len(held[::4096])
    del held
    after = memory_mb(os.getpid())
    assert before is not None
    assert after is not None
    assert after[1] >= before[0] + 60
    assert after[1] > after[0] + 40


def test_a_costly_reading_is_made_as_seldom_as_its_share_demands() -> None:
    made = []

    def costly() -> int:
        until = time.thread_time() + 0.01
        while time.thread_time() < until:
            pass
        made.append(time.monotonic())
        return len(made)

    seldom, often = ThrottledReading(costly, 0.001), ThrottledReading(lambda: 1, 1.0)
    assert [seldom() for _ in range(100)] == [1] * 100  # the next reading is due after 10 s
    assert often() == often() == 1
    always = ThrottledReading(costly, 1e9)
    assert [always(), always()] == [2, 3]
