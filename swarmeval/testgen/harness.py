"""Runs one test file inside the sandbox and reports what its tests did. Sent there as text: it imports nothing of ours.

It shares its process with the tests. Each line it writes begins with a word that only it was given; what it says are
numbers, words of its own and, last in a line, text with nothing in it but printable ASCII.

    began ITEM TEST MS              a test begins; ITEM counts all that pytest collected, TEST those given
    ended ITEM OUTCOME MS TEXT
    lines ITEM N N N                lines of the file under test that it ran
    collected ITEMS UNLISTED        what pytest found, and how much of that is not in the list and does not run
    broken N TEXT                   the import of this number fails
    uncollected TEXT                the file cannot be imported, or not be collected
    unimported TEXT                 the module under test cannot be
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
MOST_LINES = 4000  # numbers in one line
AGAIN_S = 0.5  # between alarms: code may swallow the first
Write = Callable[[bytes], None]
Phase = Generator[None, object, object]


class TooLong(BaseException):
    """A test takes longer than it may. No Exception: what catches those must not catch it."""


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
        write_line("done")  # a library that is half there may crash whoever asks it for more
        return
    for number, statement in enumerate(task["imports"]):
        try:
            exec(compile(statement, "<import>", "exec", dont_inherit=True), {})
        except BaseException as error:  # noqa: BLE001
            write_line("broken", number, text=describe_error(error))
    run(task, write_line, began)
    write_line("done")


def line_writer(word: str, write: Write) -> Callable[..., None]:
    """A function that writes one line. It holds what it needs: a test may replace whatever it finds in modules."""
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
    """pytest on the file, with nothing around it, under coverage.py."""
    import coverage
    import pytest

    with open("pytest.ini", "w", encoding="utf-8") as file:  # noqa: PTH123 (whose folder is the whole root)
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
    """What pytest calls."""

    def __init__(self, task: dict[str, Any], write_line: Callable[..., None], recorder: Any, began: float) -> None:
        self._tests = {name: number for number, name in enumerate(task["tests"])}
        self._spans = task["spans"]  # of each test: first and last line of the function it is for
        self._first = task["first"]  # items before it have run already
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
        """Leave what is in the list and has not run."""
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
        """Around a phase of a test: an alarm that ends it."""

        def ring(*_: object) -> None:
            raise TooLong(f"no end after {self._limit_s:g} s")

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, self._limit_s, AGAIN_S)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ms(self) -> int:
        return int((time.monotonic() - self._began) * 1000)


def last_line(report: Any) -> str:
    """The exception of a report, on one line."""
    shown = report.longrepr
    if isinstance(shown, tuple):  # of a skip: file, line, reason
        return str(shown[2])
    crash = getattr(shown, "reprcrash", None)
    first = crash.message if crash is not None else getattr(shown, "errorstring", "")  # of an unknown fixture
    lines = str(first).strip().splitlines() or str(shown).strip().splitlines()[-1:] or [""]
    return " ".join(lines[0].removeprefix("E ").split())
