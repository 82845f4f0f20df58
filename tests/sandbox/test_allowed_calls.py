"""The kernel features that honest programs use still work in the sandbox."""

import pytest

from swarmeval.records import Outcome
from tests.support.sandbox_runs import run_all

HONEST = {
    "threads": (
        "import threading\nfound = []\n"
        "threads = [threading.Thread(target=found.append, args=(1,)) for _ in range(20)]\n"
        "for thread in threads: thread.start()\nfor thread in threads: thread.join()\nassert len(found) == 20"
    ),
    "a thread of the C library": (
        "import ctypes\nlibc, thread = ctypes.CDLL(None), ctypes.c_ulong()\n"
        "assert libc.pthread_create(ctypes.byref(thread), None, libc.usleep, 50000) == 0\n"
        "assert libc.pthread_join(thread, None) == 0"
    ),
    "a pool of threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(4) as pool: assert list(pool.map(abs, [-1, 2])) == [1, 2]"
    ),
    "a queue": (
        "import queue, threading\nqueue = queue.Queue()\nthreading.Timer(0.01, queue.put, (1,)).start()\n"
        "assert queue.get(timeout=9) == 1"
    ),
    "asyncio": (
        "import asyncio\nasync def f():\n    await asyncio.sleep(0.001)\n"
        "    return await asyncio.to_thread(lambda: 3)\nassert asyncio.run(f()) == 3"
    ),
    "sockets between its own threads": (
        "import socket\na, b = socket.socketpair()\na.setblocking(False)\na.sendall(b'x')\nassert b.recv(1) == b'x'\n"
        "assert socket.socket(fileno=a.detach()).type == socket.SOCK_STREAM"
    ),
    "a pipe": (
        "import os\nr, w = os.pipe()\nos.set_inheritable(r, True)\nos.write(w, b'x')\nassert os.read(r, 1) == b'x'"
    ),
    "temporary files": (
        "import os, tempfile\nwith tempfile.NamedTemporaryFile('w+') as file:\n    file.write('x')\n    file.flush()\n"
        "    os.fsync(file.fileno())\n    file.seek(0)\n    assert file.read() == 'x'\n"
        "with tempfile.TemporaryDirectory() as folder:\n    open(folder + '/a', 'w').close()\n"
        "    assert os.listdir(folder) == ['a']"
    ),
    "files copied with what belongs to them": (
        "import os, shutil\nopen('a', 'w').write('x')\nshutil.copy('a', 'b')\nshutil.copy2('a', 'c')\n"
        "os.mkdir('d')\nshutil.move('b', 'd')\nshutil.copytree('d', 'e')\nshutil.rmtree('d')\n"
        "shutil.make_archive('z', 'zip', 'e')\nassert open('e/b').read() == 'x'"
    ),
    "a mapped file": (
        "import mmap\nfile = open('m', 'wb+')\nfile.write(b'x' * 5000)\nfile.flush()\n"
        "memory = mmap.mmap(file.fileno(), 0)\nmemory[0] = 1\nmemory.flush()\nmemory.close()\n"
        "file.seek(0)\nassert file.read(2) == b'\\x01x'"
    ),
    "clocks": (
        "import time, timeit\ntime.process_time(), time.thread_time(), time.monotonic(), time.time()\n"
        "time.sleep(0.001)\ntime.clock_gettime(time.CLOCK_BOOTTIME)\ntimeit.timeit('1', number=9)"
    ),
    "an alarm": (
        "import signal\nsignal.signal(signal.SIGALRM, lambda *_: None)\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\n"
        "signal.pause()\nsignal.alarm(0)"
    ),
    "databases": (
        "import shelve, sqlite3\nwith shelve.open('s') as shelf: shelf['a'] = 1\nbase = sqlite3.connect(':memory:')\n"
        "base.execute('create table t(a)')\nbase.execute('insert into t values (1)')\n"
        "assert base.execute('select * from t').fetchall() == [(1,)]"
    ),
    "a log": (
        "import logging\nlogging.basicConfig(filename='log')\nlogging.error('x')\nassert 'x' in open('log').read()"
    ),
    "facts about the machine": (
        "import os, platform, shutil\nplatform.platform(), os.cpu_count(), os.times(), shutil.disk_usage('.')"
    ),
    "numpy": "import numpy as np\nassert (np.ones((300, 300)) @ np.ones((300, 300))).sum() == 300**3",
}


@pytest.mark.slow
def test_honest_programs_find_what_they_need() -> None:
    found = run_all(*HONEST.values(), timeout_s=20.0, memory_mb=4096)
    assert {name: one.detail for name, one in zip(HONEST, found, strict=True) if one.detail} == {}
    assert {one.outcome for one in found} == {Outcome.PASSED}
