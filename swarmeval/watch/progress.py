"""Shows the progress of a run: a bar on a terminal, a plain line every 30 s elsewhere.

While the dashboard owns the terminal, output is buffered. Knows Status and a text stream, nothing about the run. If
the stream fails, progress is no longer shown and nothing is raised, so that losing the terminal does not end the run.
"""

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from swarmeval.records import Status
from swarmeval.watch.progress_text import details, done, line

LINE_EVERY_S = 30.0
MOST_NOTES = 1000  # notes buffered while the terminal has another owner; run.log has all of them
OTHER_COLUMNS = 7 + 10 + 3  # width of the elapsed time, the shortest bar, and the gaps between
DRAW_EVERY_S = 0.1  # a scripted run may report thousands of times a second

log = logging.getLogger("swarmeval")


class _View(Protocol):
    def show(self, status: Status) -> None: ...

    def step(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...

    def leave(self) -> None: ...  # restore the streams after a failed write


class TerminalOwner(Protocol):
    """The temporary owner of the terminal: the dashboard."""

    def is_drawing(self) -> bool: ...  # once False, it stays False

    def close(self) -> None: ...  # release the terminal


class ProgressDisplay:
    """Shows each Status passed to update(): as a rich bar on a terminal, as plain lines elsewhere (default: stderr).

    Shows nothing while the `owner` draws on the terminal.
    """

    def __init__(
        self,
        total: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        owner: TerminalOwner | None = None,
    ) -> None:
        stream = stream or sys.stderr
        view: _View = _Bar(total, stream, clock) if can_draw(stream) else _Lines(stream, clock)
        self._view: _View = view if owner is None else _DeferredView(owner, view)
        self._closed = False

    def update(self, status: Status) -> None:
        self._guarded(lambda: self._view.show(status))

    def step(self, text: str) -> None:
        """Show a step that precedes the first Status. Only on a terminal, and until the next step or status."""
        self._guarded(lambda: self._view.step(text))

    def note(self, text: str) -> None:
        """Print a permanent line above the bar."""
        self._guarded(lambda: self._view.note(text))

    def close(self) -> None:
        """Show the last status and release the terminal. Idempotent; later calls show nothing."""
        self._guarded(self._view.close)
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _guarded(self, draw: Callable[[], None]) -> None:
        if self._closed:
            return
        try:
            draw()
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            self._closed = True
            self._view.leave()
            log.warning("progress is no longer shown: %s", error)


class _Lines:
    """Prints a line for the first status, one every 30 s, and one for the last."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._began = clock()
        self._due = self._began
        self._unshown: Status | None = None

    def show(self, status: Status) -> None:
        self._unshown = status
        if self._clock() >= self._due:
            self._due = self._clock() + LINE_EVERY_S
            self._print(status)

    def step(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        if self._unshown is not None:
            self._print(self._unshown)

    def leave(self) -> None:
        pass

    def _print(self, status: Status) -> None:
        self._unshown = None
        self.note(line(status, self._clock() - self._began))


class _Bar:
    """A rich bar, drawn when a status arrives. It has no refresh thread that would compete with the engine."""

    def __init__(self, total: int, stream: TextIO, clock: Callable[[], float]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        ours = stream is sys.stderr  # if so, other output appears above the bar
        self._clock = clock
        self._due = clock()
        self._console = Console(file=stream, force_terminal=True)
        self._rich: Any = RichProgress(
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[details]}", markup=False),
            console=self._console,
            auto_refresh=False,
            expand=True,
            redirect_stdout=ours and sys.stdout.isatty(),  # never redirects a file or pipe
            redirect_stderr=ours,
        )
        self._task = self._rich.add_task("starting", total=total, details=f"0/{total}")
        self._started = False
        self._streams = sys.stdout, sys.stderr

    def show(self, status: Status) -> None:
        self._start()
        room = self._console.width - len(status.phase) - OTHER_COLUMNS
        self._rich.update(
            self._task,
            description=status.phase,
            total=status.total_jobs,
            completed=done(status),
            details=details(status, room),
        )
        self._draw()

    def step(self, text: str) -> None:
        self._start()
        self._rich.update(self._task, description=text, details="")
        self._draw()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._rich.start()
            self._console.show_cursor(True)  # a killed coordinator must not leave the cursor hidden

    def _draw(self) -> None:
        if self._clock() >= self._due:
            self._due = self._clock() + DRAW_EVERY_S
            self._rich.refresh()

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self._started:
            self._rich.stop()  # draws once more

    def leave(self) -> None:
        """Restore stdout and stderr, which rich keeps redirected if its last draw fails."""
        sys.stdout, sys.stderr = self._streams


class _DeferredView:
    """Buffers the calls to another view until the owner releases the terminal."""

    def __init__(self, owner: TerminalOwner, view: _View) -> None:
        self._owner = owner
        self._view = view
        self._notes: deque[str] = deque(maxlen=MOST_NOTES)
        self._unshown: Status | None = None

    def show(self, status: Status) -> None:
        self._unshown = status
        if not self._owner.is_drawing():
            self._catch_up()

    def step(self, text: str) -> None:
        if not self._owner.is_drawing():
            self._view.step(text)

    def note(self, text: str) -> None:
        self._notes.append(text)
        if not self._owner.is_drawing():
            self._catch_up()

    def close(self) -> None:
        self._owner.close()
        self._catch_up()
        self._view.close()

    def leave(self) -> None:
        self._view.leave()

    def _catch_up(self) -> None:
        while self._notes:
            self._view.note(self._notes.popleft())
        if self._unshown is not None:
            self._view.show(self._unshown)
            self._unshown = None


def can_draw(stream: TextIO) -> bool:
    return stream.isatty() and not is_dumb()


def is_dumb() -> bool:
    """Whether the terminal supports plain lines only."""
    return os.environ.get("TERM", "") in ("", "dumb", "unknown")
