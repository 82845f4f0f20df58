"""Claims about calls that may never return: they run in order, raise in the waiter, and never block the exit."""

import subprocess
import sys
import threading
from functools import partial

import pytest

from swarmeval.monitor.driver_thread import PATIENCE_S, DriverThread
from tests.support.checkout import ROOT


def test_calls_are_made_in_order_and_all_of_them_before_it_is_closed() -> None:
    seen: list[int] = []
    thread = DriverThread("test")
    for number in range(100):
        thread.submit(partial(seen.append, number))
    for _ in range(2):
        thread.close(PATIENCE_S)
    assert seen == list(range(100))


def test_an_error_is_raised_where_the_call_is_awaited_and_the_next_is_made() -> None:
    def fail() -> None:
        raise ValueError("no such device")

    thread = DriverThread("test")
    failed, done = thread.submit(fail), thread.submit(lambda: None)
    with pytest.raises(ValueError, match=r"^no such device$"):
        failed.result(20)
    done.result(20)
    thread.close(PATIENCE_S)


def test_a_call_that_hangs_is_given_up_on() -> None:
    released = threading.Event()
    thread = DriverThread("test")
    with pytest.raises(TimeoutError):
        thread.submit(released.wait).result(0.01)
    thread.close(0.01)
    released.set()


def test_the_interpreter_ends_beside_a_call_that_hangs() -> None:
    made = "from swarmeval.monitor.driver_thread import DriverThread"
    code = f"import threading\n{made}\nDriverThread('test').submit(threading.Event().wait)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=20, check=False).returncode == 0
