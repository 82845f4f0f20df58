"""The progress of a load run: a few lines in a file, one updating line on a terminal."""

import io
from contextlib import closing

import pytest

from swarmeval.loadtest.progress import LoadProgress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_without_a_terminal_a_line_is_printed_every_30_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with closing(LoadProgress(stream, clock)) as progress:
        progress.say("loading the model")
        clock.now = 5.0
        progress.begin("4 at once", 100)
        for _ in range(40):
            clock.now += 1.0
            progress.ended(2.0, failed=clock.now > 44)
    assert stream.getvalue().splitlines() == [
        "[00:00:00] loading the model",
        "[00:00:05] 4 at once  0/100",
        "[00:00:35] 4 at once  30/100  1/s  median 2 s",
        "[00:00:45] 4 at once  40/100  1/s  median 2 s  1 failed",
    ]


def test_on_a_terminal_the_line_is_erased_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream, clock = Terminal(), Clock()
    with closing(LoadProgress(stream, clock)) as progress:
        progress.begin("2/s")
        clock.now = 1.0
        progress.ended(0.5)
    first = "[00:00:00] 2/s  0 done"
    last = "[00:00:01] 2/s  1 done  1/s  median 0.5 s"
    assert stream.getvalue() == (
        f"{first}\r{' ' * len(first)}\r{last}\r{' ' * len(last)}\r{last}\n"
    )  # fmt: skip


def test_a_lost_terminal_does_not_end_the_run() -> None:
    with closing(LoadProgress(Gone(), Clock())) as progress:
        progress.begin("2/s")
        progress.ended(0.5)
        progress.note("something")
