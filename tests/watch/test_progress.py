"""Claims about the progress of a run: plain lines at intervals, and a bar that log lines do not garble."""

import io
import logging
from typing import Any

import pytest

from swarmeval.records import Status
from swarmeval.watch.progress import ProgressDisplay
from swarmeval.watch.progress_text import hms


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


class Broken(Terminal):
    """A terminal that was closed."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


class Clock:
    """A clock that advances only when the test sets it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def status(done: int, **more: object) -> Status:
    return Status("r", 1, "generating", 0.0, 8200, done, **more)  # type: ignore[arg-type]


def test_a_plain_line_shows_all_that_is_known() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = ProgressDisplay(8200, stream, clock)
    clock.now += 90
    known: dict[str, Any] = {
        "jobs_per_s": 4.6,
        "tokens_per_s": 912.4,
        "output_tokens": 82000,
        "eta_s": 1693.4,
        "pass_at_1": 0.0612,
    }
    progress.update(status(412, **known))
    line = "[00:01:30] generating 412/8200 jobs  ETA 00:28:13  pass@1 6.1 %  912 tokens/s  4.6 jobs/s  0 failures\n"
    assert stream.getvalue() == line


def test_elsewhere_a_line_comes_first_every_thirty_seconds_and_last() -> None:
    stream, clock = io.StringIO(), Clock()
    with ProgressDisplay(8200, stream, clock) as progress:
        for second in range(75):
            clock.now = 100.0 + second
            progress.update(status(second, failures=1))
    assert stream.getvalue().splitlines() == [
        "[00:00:00] generating 0/8200 jobs  waiting for the first tokens  1 failure",
        "[00:00:30] generating 30/8200 jobs  1 failure",
        "[00:01:00] generating 60/8200 jobs  1 failure",
        "[00:01:14] generating 74/8200 jobs  1 failure",
    ]


def test_the_last_line_is_not_said_twice() -> None:
    stream = io.StringIO()
    with ProgressDisplay(8200, stream, Clock()) as progress:
        progress.update(status(1))
    progress.close()
    progress.update(status(2))
    assert stream.getvalue() == "[00:00:00] generating 1/8200 jobs  0 failures\n"


def test_a_note_is_a_line_of_its_own() -> None:
    stream = io.StringIO()
    with ProgressDisplay(8200, stream, Clock()) as progress:
        progress.note("cuda:1 [bold]restarts")
    assert stream.getvalue() == "cuda:1 [bold]restarts\n"


def test_a_note_stands_above_the_bar_untorn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    note = "cuda:1 [bold]restarts " + "x" * 200
    with ProgressDisplay(8200, stream, Clock()) as progress:
        progress.update(status(412))
        progress.note(note)
    before, _, after = stream.getvalue().partition(note)
    assert before.endswith("\x1b[2K")  # the bar's line is erased
    assert after.startswith("\n")
    assert "412/8200  0 failures" in after
    assert after.endswith("\n\x1b[?25h")  # the bar stays, and the cursor is shown


def test_a_bar_is_drawn_ten_times_a_second_at_most_and_shows_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream, clock = Terminal(), Clock()
    with ProgressDisplay(8200, stream, clock) as progress:
        for done in range(1001):
            progress.update(status(done))
            clock.now += 0.01
        drawn = stream.getvalue().count("generating")
    assert 90 <= drawn <= 110
    assert "1000/8200" in stream.getvalue()


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    with ProgressDisplay(8200, stream, Clock()) as progress:
        progress.update(status(1))
    assert stream.getvalue() == "[00:00:00] generating 1/8200 jobs  0 failures\n"


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_stream_that_breaks_is_given_up_and_logged_once(
    term: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    with caplog.at_level(logging.WARNING), ProgressDisplay(8200, Broken(), Clock()) as progress:
        progress.update(status(1))
        progress.note("more")
    assert caplog.messages == ["progress is no longer shown: [Errno 5] Input/output error"]


@pytest.mark.parametrize(("seconds", "text"), [(0, "00:00:00"), (59.9, "00:00:59"), (360_000, "100:00:00")])
def test_durations_are_hours_minutes_seconds(seconds: float, text: str) -> None:
    assert hms(seconds) == text


class Lodger:
    """A dashboard stand-in that owns the terminal until it is closed."""

    def __init__(self) -> None:
        self.here = True

    def is_drawing(self) -> bool:
        return self.here

    def close(self) -> None:
        self.here = False


def test_while_somebody_else_has_the_terminal_nothing_is_written_there() -> None:
    stream, lodger = io.StringIO(), Lodger()
    progress = ProgressDisplay(8200, stream, Clock(), lodger)
    progress.update(status(1))
    progress.note("a warning")
    assert stream.getvalue() == ""
    lodger.here = False
    progress.update(status(2))
    assert stream.getvalue() == "a warning\n[00:00:00] generating 2/8200 jobs  0 failures\n"


def test_at_the_end_the_terminal_is_asked_back_and_what_was_kept_is_shown() -> None:
    stream, lodger = io.StringIO(), Lodger()
    with ProgressDisplay(8200, stream, Clock(), lodger) as progress:
        progress.update(status(8200))
        progress.note("a warning")
    assert not lodger.here
    assert stream.getvalue() == "a warning\n[00:00:00] generating 8200/8200 jobs  0 failures\n"
