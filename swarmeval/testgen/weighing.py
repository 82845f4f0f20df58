"""Evaluates all test files of a run: worth.jsonl with one line per module, and totals per package."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from swarmeval.files import cannot_write
from swarmeval.testgen import test_index
from swarmeval.testgen.packages import Skips, SourceFile
from swarmeval.testgen.sources import Module
from swarmeval.testgen.sources import read as read_module
from swarmeval.testgen.worth import Weigher, Worth

NAME = "worth.jsonl"
PASSED = "passed"

Weighed = tuple[test_index.IndexLine, Worth]


@dataclass(slots=True)
class Sums:
    """Totals of one package. A function counts once per request."""

    files: int = 0
    collected: int = 0
    requested: int = 0
    tested: int = 0  # functions with at least one test kept
    verified: int = 0  # functions with a test that passes and asserts something
    tests: int = 0
    passed: int = 0
    unasserted: int = 0  # tests without an assertion
    statements: int = 0
    covered: int = 0

    def add(self, line: test_index.IndexLine, worth: Worth) -> None:
        requested = set(line.requested)
        self.files += line.file is not None
        self.collected += line.file is not None and worth.collected
        self.requested += len(requested)
        self.tested += len({test.function_id for test in worth.tests} & requested)
        good = {test.function_id for test in worth.tests if test.outcome == PASSED and test.asserts}
        self.verified += len(good & requested)
        self.tests += len(worth.tests)
        self.passed += sum(test.outcome == PASSED for test in worth.tests)
        self.unasserted += sum(not test.asserts for test in worth.tests)
        for function in worth.functions:
            if function.function_id in requested:
                self.statements += function.statements
                self.covered += function.covered

    def cells(self) -> dict[str, int | float | None]:
        """Labels and values for display. Floats are shares, None if the whole is 0."""
        return {
            "test files": self.files,
            "collected by pytest": share(self.collected, self.files),
            "functions requested": self.requested,
            "with a test": share(self.tested, self.requested),
            "with a passing test that asserts": share(self.verified, self.requested),
            "tests": self.tests,
            "tests that pass": share(self.passed, self.tests),
            "tests that assert nothing": share(self.unasserted, self.tests),
            "lines of the functions that their tests run": share(self.covered, self.statements),
        }


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


async def weigh(run: Path, weigher: Weigher, at_once: int, show: Callable[[int], None]) -> dict[str, Sums]:
    """Evaluate every test file of a run, `at_once` at a time; return totals per package.

    `show` is called with the number of files done. Raises SandboxError, DataError, OutputError.
    """
    sums: dict[str, Sums] = {}
    number = 0
    try:
        with (run / NAME).open("wb") as file:
            async for line, worth in _weighed(run, weigher, at_once):
                file.write(msgspec.json.encode({"level": line.level, "file": line.file, "worth": worth}) + b"\n")
                sums.setdefault(line.package, Sums()).add(line, worth)
                number += 1
                show(number)
    except OSError as error:
        raise cannot_write(run / NAME, error) from None
    return sums


async def _weighed(run: Path, weigher: Weigher, at_once: int) -> AsyncGenerator[Weighed, None]:
    """Yield evaluations in order of completion. Lines are read only as needed, so that few are in memory."""
    lines: Iterator[test_index.IndexLine] = test_index.read(run)
    running: set[asyncio.Task[Weighed | None]] = set()
    try:
        while True:
            while len(running) < at_once and (line := next(lines, None)) is not None:
                running.add(asyncio.create_task(_one(run, weigher, line)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (weighed := task.result()) is not None:
                    yield weighed
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _one(run: Path, weigher: Weigher, line: test_index.IndexLine) -> Weighed | None:
    """Evaluate the test file of one line; None if the module's source no longer exists."""
    module = await asyncio.to_thread(_module, line)
    if module is None:
        return None
    return line, await weigher.weigh(module, test_index.combined(run, line))


def _module(line: test_index.IndexLine) -> Module | None:
    return read_module(SourceFile(line.package, line.module, Path(line.source)), Skips())
