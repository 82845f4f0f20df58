"""Fixtures shared by several test folders, and the report of injected faults (--fault-table)."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

pytest.register_assert_rewrite("tests.support")  # show their failed assertions as those of tests

if TYPE_CHECKING:
    from tests.support.checked_run import Run


RECURSION_LIMIT = sys.getrecursionlimit()


@pytest.fixture(autouse=True)
def usual_recursion_limit() -> None:
    """Undo what torch's compiler does when peft and torchao import it."""
    sys.setrecursionlimit(RECURSION_LIMIT)


@pytest.fixture(scope="module", autouse=True)
def no_process_left() -> Iterator[None]:
    """Fail a file whose tests leave a process running, and kill that process: other tests claim that none is left."""
    me = psutil.Process()
    before = set(me.children(recursive=True))
    yield
    _, left = psutil.wait_procs(set(me.children(recursive=True)) - before, timeout=5)
    shown = [str(process) for process in left]
    for process in left:
        process.kill()
    psutil.wait_procs(left)
    assert not shown, f"left running: {', '.join(shown)}"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Run torch on one thread. A model this small finishes before a second thread would start."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def new_run(tmp_path: Path) -> Iterator[Callable[..., "Run"]]:
    """A factory of runs of the real command (tests.support.checked_run.Run). All their processes end with the test."""
    from tests.support.checked_run import Run

    made: list[Run] = []

    def make(**settings: Any) -> Run:
        made.append(Run(tmp_path / str(len(made)), **settings))
        return made[-1]

    yield make
    for run in made:
        run.kill()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-table", type=Path, metavar="FILE", help="write the outcome of each injected fault to FILE"
    )


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--fault-table"):
        config.pluginmanager.register(FaultTable(path))


class FaultTable:
    """Collects outcomes of tests marked `fault(fault, where, holds)`: one row per test and mark (scripts/faults.py)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, ...], dict[str, Any]] = {}
        self._row_of: dict[str, list[dict[str, Any]]] = {}  # by test case

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            test = item.nodeid.partition("[")[0]
            for mark in item.iter_markers("fault"):
                key = (*mark.args, test)
                fault, where, holds = mark.args
                new = {"fault": fault, "where": where, "holds": holds, "test": test, "cases": 0, "seconds": 0.0}
                row = self._rows.setdefault(key, {**new, "outcomes": Counter(), "reasons": []})
                row["cases"] += 1
                self._row_of.setdefault(item.nodeid, []).append(row)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for row in self._row_of.get(report.nodeid, []):
            row["seconds"] += report.duration
            if report.when == "call" or not report.passed:
                row["outcomes"][report.outcome] += 1
            if report.skipped and isinstance(report.longrepr, tuple):
                row["reasons"].append(report.longrepr[2])

    def pytest_sessionfinish(self) -> None:
        self._path.write_text(json.dumps(list(self._rows.values()), indent=2), encoding="utf-8")
