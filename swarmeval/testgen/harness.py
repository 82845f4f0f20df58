"""Runs one test file inside the sandbox and reports the results. Sent there as text, so it imports no project code.

It shares its process with the tests. Every line that it writes starts with a secret word that only the harness has,
followed by numbers, keywords and, at the end of a line, text in printable ASCII.

    began ITEM TEST MS              a test starts; ITEM counts all collected items, TEST the tests in the list
    ended ITEM OUTCOME MS TEXT
    lines ITEM N N N                lines of the module under test that the test ran
    collected ITEMS UNLISTED        number of items found by pytest, and of those not in the list, which do not run
    broken N TEXT                   import number N fails
    uncollected TEXT                the file cannot be imported or collected
    unimported TEXT                 the module under test cannot be imported
    done
"""

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from typing import Any

TEXT_CHARS = 300
MOST_LINES = 4000  # line numbers in one output line
AGAIN_S = 0.5  # interval between alarms, because code may swallow the first
Write = Callable[[bytes], None]
Phase = Generator[None, object, object]


class TooLong(BaseException):
    """A test exceeded its time limit. Not an Exception, so that handlers in the test do not catch it."""


def stream(data: str, write: Write) -> None:
    """Run the file that `data` describes, as swarmeval.testgen.worth writes it."""
    began = time.monotonic()
    task: dict[str, Any] = json.loads(data)
    write_line = line_writer(task.pop("word"), write)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path[:0] = task["path"]
    try:
        importlib.import_module(task["module"])
    except BaseException as error:  # noqa: BLE001 (a module may raise anything, SystemExit too)
        write_line("unimported", text=describe_error(error))
        write_line("uncollected", text=f"the module under test cannot be imported: {describe_error(error)}")
        write_line("done")  # using a partly imported library could crash the process
        return
    for number, statement in enumerate(task["imports"]):
        try:
            exec(compile(statement, "<import>", "exec", dont_inherit=True), {})
        except BaseException as error:  # noqa: BLE001
            write_line("broken", number, text=describe_error(error))
    run(task, write_line, began)
    write_line("done")


def line_writer(word: str, write: Write) -> Callable[..., None]:
    """A function that writes one line. It keeps its own references, because a test may replace module attributes."""
    as_text, join = str, " ".join

    def write_line(kind: str, *values: object, text: str = "") -> None:
        shown = "".join(letter if " " <= letter <= "~" else "?" for letter in text[:TEXT_CHARS])
        write(join([word, kind, *(as_text(value) for value in values), shown]).encode("ascii", "replace") + b"\n")

    return write_line


def describe_error(error: BaseException) -> str:
    try:
        return " ".join(f"{type(error).__name__}: {error}".split())
    except BaseException:  # noqa: BLE001 (a hostile __str__)
        return type(error).__name__


def run(task: dict[str, Any], write_line: Callable[..., None], began: float) -> None:
    """Run pytest on the file, without plugins and configuration, under coverage.py."""
    import coverage
    import pytest

    with open("pytest.ini", "w", encoding="utf-8") as file:  # noqa: PTH123 (in the sandbox's own folder)
        file.write("[pytest]\n")
    with open(task["name"], "w", encoding="utf-8", newline="") as file:  # noqa: PTH123
        file.write(task["source"])
    recorder = coverage.Coverage(data_file=None, config_file=False, include=[task["file"]], messages=False)
    recorder.set_option("run:disable_warnings", ["no-data-collected", "module-not-imported", "module-not-measured"])
    for phase in ("setup", "call", "teardown"):
        name = f"pytest_runtest_{phase}"
        setattr(Plugin, name, pytest.hookimpl(wrapper=True)(getattr(Plugin, name)))
    off = ("cacheprovider", "faulthandler", "terminal", "junitxml", "pastebin", "doctest", "stepwise")
    pytest.main(
        [task["name"], "-c", "pytest.ini", "--rootdir", ".", "--noconftest", "--import-mode=importlib",
         "--assert=plain", "--capture=no", *(part for name in off for part in ("-p", f"no:{name}"))],
        plugins=[Plugin(task, write_line, recorder, began)],
    )  # fmt: skip


class Plugin:
    """The pytest plugin that selects tests and reports their results."""

    def __init__(self, task: dict[str, Any], write_line: Callable[..., None], recorder: Any, began: float) -> None:
        self._tests = {name: number for number, name in enumerate(task["tests"])}
        self._spans = task["spans"]  # per test: first and last line of its function
        self._first = task["first"]  # earlier items have already run
        self._limit_s = task["test_timeout_s"]
        self._file = task["file"]
        self._write_line = write_line
        self._recorder = recorder
        self._began = began
        self._items: dict[str, tuple[int, int]] = {}  # node id -> item, test
        self._worst: dict[str, tuple[str, str]] = {}

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._write_line("uncollected", text=last_line(report))

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Select the items that are in the list and have not run."""
        numbered = list(enumerate(items))
        selected = []
        unlisted = 0
        for number, item in numbered:
            name = item.nodeid.partition("::")[2].partition("[")[0]
            test = self._tests.get(name)
            if test is None:
                unlisted += 1
            elif number >= self._first:
                self._items[item.nodeid] = (number, test)
                selected.append(item)
        items[:] = selected
        self._write_line("collected", len(numbered), unlisted)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._worst[nodeid] = ("passed", "")
        self._write_line("began", *self._items[nodeid], self._ms())
        self._recorder.erase()
        self._recorder.start()

    def pytest_runtest_logreport(self, report: Any) -> None:
        before, _ = self._worst[report.nodeid]
        if report.failed and before == "passed":
            word = "failed" if report.when == "call" else "error"
            text = last_line(report)
            self._worst[report.nodeid] = ("timed_out" if text.startswith("TooLong") else word, text)
        elif report.skipped and before == "passed":
            self._worst[report.nodeid] = ("skipped", last_line(report))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._recorder.stop()
        item, test = self._items[nodeid]
        first, last = self._spans[test]
        ran = sorted(line for line in self._recorder.get_data().lines(self._file) or () if first <= line <= last)
        self._write_line("lines", item, *ran[:MOST_LINES])
        word, text = self._worst.pop(nodeid)
        self._write_line("ended", item, word, self._ms(), text=text)

    def pytest_runtest_setup(self) -> Phase:
        return (yield from self._limited())

    def pytest_runtest_call(self) -> Phase:
        return (yield from self._limited())

    def pytest_runtest_teardown(self) -> Phase:
        return (yield from self._limited())

    def _limited(self) -> Phase:
        """Limit the time of one phase of a test by an alarm."""

        def ring(*_: object) -> None:
            raise TooLong(f"time limit of {self._limit_s:g} s exceeded")

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, self._limit_s, AGAIN_S)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ms(self) -> int:
        return int((time.monotonic() - self._began) * 1000)


def last_line(report: Any) -> str:
    """The exception in a report, as one line."""
    shown = report.longrepr
    if isinstance(shown, tuple):  # for a skip: (file, line, reason)
        return str(shown[2])
    crash = getattr(shown, "reprcrash", None)
    first = crash.message if crash is not None else getattr(shown, "errorstring", "")  # for an unknown fixture
    lines = str(first).strip().splitlines() or str(shown).strip().splitlines()[-1:] or [""]
    return " ".join(lines[0].removeprefix("E ").split())
