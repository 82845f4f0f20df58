"""The time limit counts a program's own time only."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from swarmeval.records import Execution, Outcome, Program
from swarmeval.sandbox.runner import Sandbox
from tests.support.sandbox_runs import MEMORY_MB


@contextmanager
def a_crowded_core() -> Iterator[Callable[[], None]]:
    """Pin this process and its children to one core. The yielded function keeps that core busy."""
    held = os.sched_getaffinity(0)
    rivals: list[subprocess.Popen[bytes]] = []
    os.sched_setaffinity(0, {min(held)})
    try:
        yield lambda: rivals.append(
            subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
        )
    finally:
        os.sched_setaffinity(0, held)
        for rival in rivals:
            with rival:
                rival.kill()


@pytest.mark.slow
def test_only_its_own_time_is_charged_to_a_program() -> None:
    """Time taken by other processes on a busy machine does not count; time asleep does."""
    compute = "import time\nend = time.process_time() + 0.04\nwhile time.process_time() < end: pass"

    async def session(crowd: Callable[[], None]) -> tuple[Execution, Execution]:
        async with Sandbox(1, 0.2, MEMORY_MB, yields=True) as sandbox:  # starved by the rivals
            asleep = await sandbox.run(Program("import time\ntime.sleep(60)"))
            crowd()
            return asleep, await sandbox.run(Program(compute))

    with a_crowded_core() as crowd:
        asleep, starved = asyncio.run(session(crowd))
    assert (asleep.outcome, asleep.detail) == (Outcome.TIMED_OUT, "Time limit exceeded: 0.2 s, in line 2 in <module>")
    assert (starved.outcome, starved.wall_s > 0.2) == (Outcome.PASSED, True)
