"""Parses the harness's report on one run of a test file, treating it as untrusted.

Every line must start with the secret word of this run, refer to existing tests, and come in a valid order. Otherwise
the whole run counts as tampered.
"""

from dataclasses import dataclass, field

OUTCOMES = ("passed", "failed", "error", "timed_out", "skipped")
TRACE = "Stack (most recent call first):"  # written by a process that reaches its time limit


class Forged(Exception):
    """The output cannot come from the harness alone."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The result of one pytest item."""

    item: int
    test: int  # index in the list of tests
    outcome: str  # one of OUTCOMES
    detail: str
    took_s: float
    lines: frozenset[int]


@dataclass(slots=True)
class HarnessReport:
    """The report on one run."""

    items: int | None = None  # number of collected items; None if the run ended before
    unlisted: int = 0
    results: list[ItemResult] = field(default_factory=list)
    running: tuple[int, int, float] | None = None  # (item, test, start time) of a test that did not end
    broken: dict[int, str] = field(default_factory=dict)  # number of the import -> reason why it fails
    uncollected: str | None = None
    unimported: str | None = None
    done: bool = False


def read(text: str, word: str, tests: int, lines: frozenset[int], at_limit: bool) -> HarnessReport:
    """Parse a report. `tests` is the number of tests, `lines` the executable lines. Raises Forged."""
    reader = HarnessOutputReader(tests, lines)
    body = text.partition(TRACE)[0] if at_limit else text
    *whole, rest = body.split("\n")
    if rest and not at_limit and not word.startswith(rest[: len(word)]):
        raise Forged
    for line in whole:
        begin, _, message = line.partition(" ")
        if begin != word:
            raise Forged
        try:
            reader.take(message)
        except (ValueError, IndexError, KeyError):
            raise Forged from None
    return reader.report


class HarnessOutputReader:
    """Builds a report line by line, and raises ValueError, IndexError or KeyError for an invalid line."""

    def __init__(self, tests: int, lines: frozenset[int]) -> None:
        self.report = HarnessReport()
        self._tests = tests
        self._possible = lines
        self._lines: frozenset[int] = frozenset()

    def take(self, message: str) -> None:
        kind, _, rest = message.partition(" ")
        if self.report.done:
            raise ValueError
        {
            "began": self._begin, "ended": self._end, "lines": self._add_lines, "collected": self._set_collected,
            "broken": self._add_broken, "uncollected": self._add_uncollected, "unimported": self._add_unimported,
            "done": self._finish,
        }[kind](rest)  # fmt: skip

    def _begin(self, rest: str) -> None:
        item, test, ms, _ = rest.split(" ", 3)
        last = self.report.results[-1].item if self.report.results else -1
        if self.report.running or not (last < int(item) < (self.report.items or 0)) or not 0 <= int(test) < self._tests:
            raise ValueError
        self.report.running = (int(item), int(test), int(ms) / 1000)
        self._lines = frozenset()

    def _add_lines(self, rest: str) -> None:
        item, *numbers = rest.split()
        if self.report.running is None or self.report.running[0] != int(item):
            raise ValueError
        self._lines = frozenset(map(int, numbers)) & self._possible

    def _end(self, rest: str) -> None:
        number, outcome, ms, detail = rest.split(" ", 3)
        if self.report.running is None or self.report.running[0] != int(number) or outcome not in OUTCOMES:
            raise ValueError
        item, test, began_s = self.report.running
        took_s = int(ms) / 1000 - began_s
        self.report.results.append(ItemResult(item, test, outcome, detail.strip(), took_s, self._lines))
        self.report.running = None

    def _set_collected(self, rest: str) -> None:
        items, unlisted, _ = rest.split(" ", 2)
        if self.report.items is not None or int(items) < 0:
            raise ValueError
        self.report.items, self.report.unlisted = int(items), int(unlisted)

    def _add_broken(self, rest: str) -> None:
        number, _, reason = rest.partition(" ")
        self.report.broken[int(number)] = reason.strip()

    def _add_uncollected(self, rest: str) -> None:
        self.report.uncollected = self.report.uncollected or rest.strip()

    def _add_unimported(self, rest: str) -> None:
        self.report.unimported = rest.strip()

    def _finish(self, rest: str) -> None:
        if self.report.running:
            raise ValueError
        self.report.done = True
