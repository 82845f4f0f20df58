"""Hostile executed programs: they leave nothing behind, reach nothing outside, and harm no other program."""

import time
from pathlib import Path

import pytest

from tests.support.executed_runs import HELLO, endings, execute, python, script
from tests.support.sandbox_runs import descendants

pytestmark = pytest.mark.slow
# Each prints hello if it is contained.
CONTAINED = {
    "the network": "import socket\ntry: socket.socket()\nexcept OSError: print('hello')",
    "the users": "try: open('/etc/passwd')\nexcept OSError: print('hello')",
    "another's environment": "import os\ntry: open('/proc/1/environ')\nexcept OSError: print('hello')",
    "other processes": "import os\nif len([n for n in os.listdir('/proc') if n.isdecimal()]) == 1: print('hello')",
    "the machine's load": "try: open('/proc/loadavg')\nexcept OSError: print('hello')",
    "a library": "import os\ntry: open(os.__file__, 'a')\nexcept OSError: print('hello')",
    "its parent": "import os, signal\ntry: os.kill(1, signal.SIGKILL)\nexcept OSError: print('hello')",
    "namespaces": "import ctypes\nif ctypes.CDLL(None).unshare(0x10000000) < 0: print('hello')",
    "tracing": "import ctypes\nif ctypes.CDLL(None).ptrace(0, 0, 0, 0) < 0: print('hello')",
    "a file in memory": "import os\ntry: os.memfd_create('x')\nexcept OSError: print('hello')",
    "the descriptors of its jail": "import os\nif os.listdir('/proc/self/fd') == ['0', '1', '2', '3']: print('hello')",
    "its input": "import os\ntry: os.write(0, b'x')\nexcept OSError: print('hello')",
}  # fmt: skip
FORK_BOMB = "f() { f | f & }; f; sleep 9"
DAEMON = "setsid sh -c 'sleep 60; touch here' > /dev/null 2>&1 & echo hello"
FULL_DISK = """
try:
    for number in range(99):
        open(str(number), "wb").write(bytes(64 << 20))
except OSError:
    print("hello")
"""


def test_no_executed_program_reaches_outside_its_jail() -> None:
    found = execute(*(python(text) for text in CONTAINED.values()))
    assert {name: answer["outcome"] for name, answer in zip(CONTAINED, found, strict=True)} == dict.fromkeys(
        CONTAINED, "PASSED"
    )


def test_no_process_of_an_executed_program_outlives_its_verdict() -> None:
    began = time.monotonic()
    bombs = [script(FORK_BOMB, run=["/bin/bash"]), script(DAEMON), script("echo hello")]
    found = endings(*bombs, timeout_s=1.0)
    assert found == [("TIMED_OUT", "case 1 of 1: Time limit exceeded: 1 s"), ("PASSED", ""), ("PASSED", "")]
    assert time.monotonic() - began < 20
    assert descendants() == set()


def test_a_full_disk_ends_with_its_program() -> None:
    assert [answer["outcome"] for answer in execute(python(FULL_DISK), python(FULL_DISK))] == ["PASSED"] * 2


def test_nothing_is_found_where_an_earlier_program_wrote() -> None:
    write = "for f in . /tmp $HOME /dev/shm /var/tmp /usr; do echo x > $f/left; done 2> /dev/null; echo hello"
    look = "cat /tmp/left $HOME/left ./left /dev/shm/left /usr/left 2> /dev/null; echo hello"
    assert endings(script(write), script(look)) == [("PASSED", "")] * 2


def test_without_layers_the_processes_are_still_ended(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    text = f"(sleep 2; touch {mark}) > /dev/null 2>&1 & echo hello"
    assert endings(script(text, HELLO), script("sleep 3"), timeout_s=5.0, mode="none")[0] == ("PASSED", "")
    assert not mark.exists()
    assert descendants() == set()
