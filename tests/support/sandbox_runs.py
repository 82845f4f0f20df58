"""Runs programs in a sandbox, and lists the processes and folders they leave behind."""

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil

from swarmeval.records import Execution, Program
from swarmeval.sandbox.runner import Sandbox

TIMEOUT_S = 5.0
MEMORY_MB = 1024


def run_all(
    *programs: str | Program, timeout_s: float = TIMEOUT_S, memory_mb: int = MEMORY_MB, mode: str = "auto"
) -> list[Execution]:
    """Run the programs concurrently on one warden."""

    records = [Program(program) if isinstance(program, str) else program for program in programs]

    async def session() -> list[Execution]:
        async with Sandbox(1, timeout_s, memory_mb, mode) as sandbox:
            return await asyncio.gather(*(sandbox.run(program) for program in records))

    return asyncio.run(session())


def descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def folders() -> set[Path]:
    """Sandbox folders of this process. Other processes may have their own at the same time."""
    return set(Path(tempfile.gettempdir()).glob(f"swarmeval-{os.getpid()}-*"))


async def when(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 (other processes set no event)
            await asyncio.sleep(0.01)
