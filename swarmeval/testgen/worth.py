"""What generated tests are worth: whether they are collected, pass, assert anything, and run the function they are for.

Every test file runs in a sandboxed process of its own, and again behind each test that ends the process. What comes
back is told by the harness, which shares that process with the tests: a test that walks the interpreter's frames to
find the harness's word and its function could tell outcomes and lines of its own file, as a HumanEval program could if
it were judged beside its tests only. No other file's result is in its reach. What cannot be forged is read outside the
sandbox: which tests there are, what they assert, which lines a function has. What a test writes without having looked
for the word, and what names a test or an order that cannot be, marks the whole file as tampered with.
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
MOST_RUNS = 12  # of one file: each but the first follows a test that ended its process


@dataclass(frozen=True, slots=True)
class TestWorth:
    """What came of one test; of a parametrized one the worst of its cases."""

    __test__ = False  # for pytest

    name: str
    function_id: str
    # passed, failed, error (of a fixture or import), timed_out, skipped, crashed (it ended the process),
    # uncollected (its file or itself), not_run (too many before it ended the process), tampered
    outcome: str
    detail: str  # of what kept it from passing; a test may have written it
    asserts: bool
    cases: int  # that ran
    took_s: float


@dataclass(frozen=True, slots=True)
class FunctionWorth:
    """How much of a function its own tests run."""

    function_id: str
    statements: int  # of its body, as coverage.py counts them; 0 where it excludes the function
    covered: int  # of those, by its own tests that ended

    @property
    def coverage(self) -> float | None:
        return self.covered / self.statements if self.statements else None


@dataclass(frozen=True, slots=True)
class Worth:
    """Of one test file."""

    module: str
    collected: bool  # by pytest, as it was written
    reason: str  # why not
    unimported: str  # why the module under test itself cannot be imported in the sandbox; "" where it can
    broken_imports: dict[str, str]  # statement -> why it fails
    tests: tuple[TestWorth, ...]
    functions: tuple[FunctionWorth, ...]  # all of the module
    unlisted: int  # what pytest collected besides (inherited test methods, imported functions); not run
    runs: int
    cpu_s: float

    def outcomes(self) -> dict[str, int]:
        """How many tests came to each outcome."""
        outcomes = [test.outcome for test in self.tests]
        return {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}


@dataclass(slots=True)
class Runs:
    """What the runs of one file reported, together."""

    results: list[ItemResult] = field(default_factory=list)
    items: int | None = None  # collected
    unlisted: int = 0
    uncollected: str = ""
    unimported: str = ""
    broken: dict[Import, str] = field(default_factory=dict)
    forged: bool = False
    whole: bool = False  # pytest came to its end
    count: int = 0
    cpu_s: float = 0.0
    first: int = 0  # item of the next run

    def take(
        self, report: HarnessReport, execution: Execution, imports: Sequence[Import], test_timeout_s: float
    ) -> bool:
        """Take what a run reported; whether there is something left to run."""
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
        """Blame the test that was running when the process ended, unless others had used up its time."""
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
    """Weighs test files, `workers` at a time."""

    def __init__(
        self,
        roots: Sequence[Root],
        workers: int = 2,
        file_timeout_s: float = 60.0,
        test_timeout_s: float = 5.0,
        memory_mb: int = 4096,
        mode: str = "auto",
    ) -> None:
        """For tests of these packages. `file_timeout_s` is for one process, `test_timeout_s` for a phase of a test.

        Raises DataError where pytest or coverage.py is not installed.
        """
        self._test_timeout_s = test_timeout_s
        self._path = list(dict.fromkeys(str(root.import_folder) for root in roots))
        self._sandbox = Sandbox(workers, file_timeout_s, memory_mb, mode, shown=readable_paths(roots))
        self._program = HARNESS.read_text(encoding="utf-8")

    async def __aenter__(self) -> Self:
        """Raises SandboxError when nothing can be run here."""
        await self._sandbox.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sandbox.__aexit__(kind, error, trace)

    def in_force(self) -> str:
        return self._sandbox.in_force()

    def missing(self) -> dict[str, str]:
        """The layers that do not hold here, and why."""
        return self._sandbox.missing()

    async def weigh(self, module: Module, combined: Combined) -> Worth:
        """What one file's tests are worth. Raises SandboxError where the sandbox fails, never for what a test does.

        Where imports fail, the tests that need them are errors, and the others run without them.
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
        """Run a file, and what is left of it behind each test that ended its process."""
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
                    raise Forged  # the harness never ends well before it is done
            except Forged:
                runs.forged = True
                break
            if not runs.take(report, execution, imports, self._test_timeout_s):
                break
        return runs


def worth(
    module: Module, combined: Combined, ran: Combined, first: Runs, last: Runs, lines: dict[str, frozenset[int]]
) -> Worth:
    """From the run of a file as it was written and the run of what could be imported; often they are one."""
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
            outcome, detail = "tampered", "the file wrote where only its harness may"
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
    """The outcome of a test from those of its cases, and why."""
    for outcome in ("crashed", "timed_out", "error", "failed", "passed", "skipped"):
        for case in cases:
            if case.outcome == outcome:
                return outcome, case.detail
    if runs.items is None:
        return "uncollected", runs.uncollected
    return (
        ("uncollected", "pytest does not collect it") if runs.whole else ("not_run", "others ended the process before")
    )


def imports_of(source: str) -> list[Import]:
    """Each name that a file imports, but for the future."""
    nodes = [node for node in parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return [one for node in nodes for one in bindings(node) if one.module != "__future__"]


def span(module: Module, function_id: str) -> tuple[int, int]:
    """First and last line of a function's body."""
    function = next(one for one in module.functions if one.function_id == function_id)
    return function.body_line, function.end_line


def statements(module: Module) -> dict[str, frozenset[int]]:
    """Function id -> the lines of its body that can run, as coverage.py counts them. Reads the source, imports none.

    Those that hold `# pragma: no cover` and the like do not count.
    """
    import coverage

    whole = coverage.Coverage(data_file=None, config_file=False, messages=False)
    with parsing():
        lines = set(whole.analysis2(str(module.file.path))[1])
    return {
        one.function_id: frozenset(line for line in lines if one.body_line <= line <= one.end_line)
        for one in module.functions
    }
