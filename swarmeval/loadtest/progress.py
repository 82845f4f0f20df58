"""Progress display of a load run: one line, redrawn in place on a terminal, otherwise printed every 30 s.

Does not know about load: the caller reports each finished request.
"""

import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from swarmeval.watch.progress import DRAW_EVERY_S, LINE_EVERY_S, can_draw
from swarmeval.watch.progress_text import hms

RECENT = 200  # answers in the running median


class LoadProgress:
    """Shows the current phase: a load level or the evaluation of the tests. Must be closed. Ignores a lost terminal."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._draws = can_draw(self._stream)
        self._clock = clock
        self._began = self._phase_began = self._due = clock()
        self._phase = ""
        self._of: int | None = None
        self._ended = self._failed = 0
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._width = 0  # characters to erase on the terminal

    def say(self, phase: str) -> None:
        """Announce a phase without a count."""
        self.close()
        self.note(f"[{hms(self._clock() - self._began)}] {phase}")

    def begin(self, phase: str, of: int | None = None) -> None:
        """Start a phase of `of` items; None if their number is unknown."""
        self.close()
        self._phase, self._of, self._phase_began = phase, of, self._clock()
        self._ended = self._failed = 0
        self._recent.clear()
        self._show()

    def ended(self, latency_s: float | None = None, failed: bool = False) -> None:
        """Count one finished item."""
        self._ended += 1
        self._failed += failed
        if latency_s is not None and not failed:
            self._recent.append(latency_s)
        if self._clock() >= self._due:
            self._show()

    def note(self, text: str) -> None:
        """Print a permanent line."""
        self._write(f"{self._erased()}{text}\n")

    def close(self) -> None:
        """Print the final state of the phase as a permanent line. Idempotent."""
        if self._phase:
            self.note(self._line())
            self._phase = ""

    def _show(self) -> None:
        self._due = self._clock() + (DRAW_EVERY_S if self._draws else LINE_EVERY_S)
        line = self._line()
        if self._draws:
            erased = self._erased()
            self._width = len(line)
            self._write(f"{erased}{line}")
        else:
            self._write(f"{line}\n")

    def _line(self) -> str:
        seconds = self._clock() - self._phase_began
        parts = [f"[{hms(self._clock() - self._began)}] {self._phase}"]
        parts.append(f"{self._ended:,} done" if self._of is None else f"{self._ended:,}/{self._of:,}")
        if self._ended and seconds > 0:
            parts.append(f"{self._ended / seconds:.3g}/s")
        if self._recent:
            parts.append(f"median {statistics.median(self._recent):.3g} s")
        if self._failed:
            parts.append(f"{self._failed:,} failed")
        return "  ".join(parts)

    def _erased(self) -> str:
        width, self._width = self._width, 0
        return f"\r{' ' * width}\r" if width else ""

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed
            self._draws = False
