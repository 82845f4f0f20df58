"""Evaluates generated tests: whether pytest collects them, and whether they pass, assert, and run their function.

Every test file runs in its own sandboxed process. If a test ends the process, the file runs again from the next test.

The harness that reports results shares the process with the tests. A test that searches the interpreter's frames for
the harness's secret word could forge outcomes and lines of its own file, but not of other files. Facts that must not be
forged are determined outside the sandbox: the list of tests, whether they assert, and the lines of a function. Output
without the secret word, or about impossible tests or in an impossible order, marks the whole file as tampered.
"""

import ast
import asyncio
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from swarmeval.extraction.syntax import parse, parsing
from swarmeval.records import Execution, Outcome
from swarmeval.sandbox.runner import Sandbox
from swarmeval.testgen.combine import Combined, combine
from swarmeval.testgen.harness_output import Forged, HarnessReport, ItemResult, read
from swarmeval.testgen.imports import Import, bindings, import_statements
from swarmeval.testgen.packages import Root
from swarmeval.testgen.pieces import Part
from swarmeval.testgen.readable_paths import readable_paths
from swarmeval.testgen.sources import Module

HARNESS = Path(__file__).with_name("harness.py")
MOST_RUNS = 12  # runs per file; each further run follows a test that ended the process


@dataclass(frozen=True, slots=True)
class TestWorth:
    """The result of one test; for a parametrized test, the worst of its cases."""

    __test__ = False  # for pytest

    name: str
    function_id: str
    # passed, failed, error (in a fixture or import), timed_out, skipped, crashed (ended the process),
    # uncollected (the file or the test), not_run (too many earlier tests ended the process), tampered
    outcome: str
    detail: str  # reason why it did not pass; may come from the test itself
    asserts: bool
    cases: int  # cases that ran
    took_s: float


@dataclass(frozen=True, slots=True)
class FunctionWorth:
    """Coverage of a function by its own tests."""

    function_id: str
    statements: int  # statements of its body, as counted by coverage.py; 0 if excluded
    covered: int  # statements that its completed tests ran

    @property
    def coverage(self) -> float | None:
        return self.covered / self.statements if self.statements else None


@dataclass(frozen=True, slots=True)
class Worth:
    """The evaluation of one test file."""

    module: str
    collected: bool  # whether pytest collects the file as written
    reason: str  # reason why it does not
    unimported: str  # reason why the sandbox cannot import the module under test; "" if it can
    broken_imports: dict[str, str]  # statement -> reason why it fails
    tests: tuple[TestWorth, ...]
    functions: tuple[FunctionWorth, ...]  # all functions of the module
    unlisted: int  # other items that pytest collected (inherited methods, imported functions); not run
    runs: int
    cpu_s: float

    def outcomes(self) -> dict[str, int]:
        """Number of tests per outcome."""
        outcomes = [test.outcome for test in self.tests]
        return {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}


@dataclass(slots=True)
class Runs:
    """Combined reports of all runs of one file."""

    results: list[ItemResult] = field(default_factory=list)
    items: int | None = None  # number of collected items
    unlisted: int = 0
    uncollected: str = ""
    unimported: str = ""
    broken: dict[Import, str] = field(default_factory=dict)
    forged: bool = False
    whole: bool = False  # whether pytest finished
    count: int = 0
    cpu_s: float = 0.0
    first: int = 0  # first item of the next run

    def take(
        self, report: HarnessReport, execution: Execution, imports: Sequence[Import], test_timeout_s: float
    ) -> bool:
        """Add the report of a run; return whether another run is needed."""
        self.count += 1
        self.cpu_s += execution.cpu_s
        self.results += report.results
        self.unimported = report.unimported or ""
        if self.items is None:
            self.items, self.unlisted = report.items, report.unlisted
            self.broken = {imports[number]: reason for number, reason in report.broken.items() if number < len(imports)}
        if report.items is None or report.uncollected is not None:
            self.items = None
            self.uncollected = report.uncollected or f"{execution.outcome}: {execution.detail}"
        if report.done or self.items is None:
            self.whole = report.done
            return False
        return self._has_more(report, execution, test_timeout_s)

    def _has_more(self, report: HarnessReport, execution: Execution, test_timeout_s: float) -> bool:
        """Record the test that was running when the process ended, unless earlier tests had used up its time."""
        if report.running is None:
            self.first = report.results[-1].item + 1 if report.results else self.first
            return bool(report.results)
        item, test, began_s = report.running
        took_s = execution.wall_s - began_s
        late = execution.outcome is Outcome.TIMED_OUT
        if late and report.results and took_s < test_timeout_s:
            self.first = item
            return True
        outcome = "timed_out" if late else "crashed"
        self.results.append(ItemResult(item, test, outcome, execution.detail, took_s, frozenset()))
        self.first = item + 1
        return True


class Weigher:
    """Evaluates test files, `workers` at a time."""

    def __init__(
        self,
        roots: Sequence[Root],
        workers: int = 2,
        file_timeout_s: float = 60.0,
        test_timeout_s: float = 5.0,
        memory_mb: int = 4096,
        mode: str = "auto",
    ) -> None:
        """Prepare for tests of these packages. `file_timeout_s` limits a process, `test_timeout_s` a phase of a test.

        Raises DataError if pytest or coverage.py is not installed.
        """
        self._test_timeout_s = test_timeout_s
        self._path = list(dict.fromkeys(str(root.import_folder) for root in roots))
        self._sandbox = Sandbox(workers, file_timeout_s, memory_mb, mode, shown=readable_paths(roots))
        self._program = HARNESS.read_text(encoding="utf-8")

    async def __aenter__(self) -> Self:
        """Start the sandbox. Raises SandboxError if no program can run here."""
        await self._sandbox.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sandbox.__aexit__(kind, error, trace)

    def in_force(self) -> str:
        return self._sandbox.in_force()

    def missing(self) -> dict[str, str]:
        """The sandbox layers that are not available here, with reasons."""
        return self._sandbox.missing()

    async def weigh(self, module: Module, combined: Combined) -> Worth:
        """Evaluate one test file. Raises SandboxError if the sandbox fails, never because of a test.

        If imports fail, the tests that need them count as errors, and the others run without them.
        """
        lines = await asyncio.to_thread(statements, module)
        first = last = await self._run(module, combined, lines)
        ran = combined
        if first.broken and first.items is None:
            retry = combine([Part("", combined.source, is_code=True)], without=set(first.broken))
            names = {test.name for test in retry.tests}
            ran = replace(retry, tests=tuple(test for test in combined.tests if test.name in names))
            last = await self._run(module, ran, lines)
        return worth(module, combined, ran, first, last, lines)

    async def _run(self, module: Module, combined: Combined, lines: dict[str, frozenset[int]]) -> Runs:
        """Run a file, and run it again from the next test whenever a test ends the process."""
        runs = Runs()
        imports = imports_of(combined.source)
        task = {
            "path": self._path, "module": module.name, "file": str(module.file.path),
            "name": f"test_{module.name.replace('.', '_')}.py", "source": combined.source,
            "imports": ["\n".join(import_statements([one])) for one in imports],
            "tests": [test.name for test in combined.tests],
            "spans": [span(module, test.function_id) for test in combined.tests],
            "test_timeout_s": self._test_timeout_s,
        }  # fmt: skip
        possible = frozenset().union(*lines.values())
        while combined.tests and runs.count < MOST_RUNS:
            word = secrets.token_hex(16)
            execution, output = await self._sandbox.stream(
                self._program, json.dumps({**task, "word": word, "first": runs.first})
            )
            try:
                report = read(output, word, len(combined.tests), possible, execution.outcome is Outcome.TIMED_OUT)
                if execution.outcome is Outcome.PASSED and not report.done:
                    raise Forged  # the harness never exits normally before it is done
            except Forged:
                runs.forged = True
                break
            if not runs.take(report, execution, imports, self._test_timeout_s):
                break
        return runs


def worth(
    module: Module, combined: Combined, ran: Combined, first: Runs, last: Runs, lines: dict[str, frozenset[int]]
) -> Worth:
    """Evaluate from the `first` run (file as written) and the `last` (without broken imports), often the same."""
    cases: dict[str, list[ItemResult]] = {}
    covered: dict[str, set[int]] = {}
    for result in last.results:
        test = ran.tests[result.test]
        cases.setdefault(test.name, []).append(result)
        covered.setdefault(test.function_id, set()).update(result.lines)
    forged = first.forged or last.forged
    unbroken = {test.name for test in ran.tests}
    tests = []
    for test in combined.tests:
        own = cases.get(test.name, [])
        if forged:
            outcome, detail = "tampered", "the file wrote to the channel reserved for the harness"
        elif test.name not in unbroken:
            outcome, detail = "error", "; ".join(first.broken.values())
        else:
            outcome, detail = worst(own, last)
        took_s = sum(case.took_s for case in own)
        tests.append(TestWorth(test.name, test.function_id, outcome, detail, test.asserts, len(own), took_s))
    functions = tuple(
        FunctionWorth(name, len(own), 0 if forged else len(own & covered.get(name, set())))
        for name, own in lines.items()
    )
    return Worth(
        module.name, first.items is not None and not forged, first.uncollected, first.unimported,
        {import_statements([one])[0]: reason for one, reason in first.broken.items()}, tuple(tests), functions,
        last.unlisted,
        first.count + (last.count if last is not first else 0),
        first.cpu_s + (last.cpu_s if last is not first else 0.0),
    )  # fmt: skip


def worst(cases: Sequence[ItemResult], runs: Runs) -> tuple[str, str]:
    """(outcome, detail) of a test: that of its worst case."""
    for outcome in ("crashed", "timed_out", "error", "failed", "passed", "skipped"):
        for case in cases:
            if case.outcome == outcome:
                return outcome, case.detail
    if runs.items is None:
        return "uncollected", runs.uncollected
    return ("uncollected", "not collected by pytest") if runs.whole else ("not_run", "earlier tests ended the process")


def imports_of(source: str) -> list[Import]:
    """Each name that a file imports, except from __future__."""
    nodes = [node for node in parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return [one for node in nodes for one in bindings(node) if one.module != "__future__"]


def span(module: Module, function_id: str) -> tuple[int, int]:
    """First and last line of a function's body."""
    function = next(one for one in module.functions if one.function_id == function_id)
    return function.body_line, function.end_line


def statements(module: Module) -> dict[str, frozenset[int]]:
    """Map function ids to the executable lines of their bodies, as counted by coverage.py. Imports no module.

    Lines excluded by `# pragma: no cover` and the like do not count.
    """
    import coverage

    whole = coverage.Coverage(data_file=None, config_file=False, messages=False)
    with parsing():
        lines = set(whole.analysis2(str(module.file.path))[1])
    return {
        one.function_id: frozenset(line for line in lines if one.body_line <= line <= one.end_line)
        for one in module.functions
    }
