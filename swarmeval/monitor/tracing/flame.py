"""Samples the calling thread and writes a flame graph of its Python code as a self-contained HTML page.

The only module that imports pyinstrument.
"""

import logging
import time
from pathlib import Path

from swarmeval.errors import OutputError
from swarmeval.files import replaced
from swarmeval.monitor.tracing.spans import file_name

INTERVAL_S = 0.01
LIMIT_S = 300.0  # sampling stops after this; five minutes give a page of about 10 MB

log = logging.getLogger("swarmeval")


class Flame:
    """Samples the thread that creates it. All methods must be called in that thread."""

    def __init__(self, path: Path) -> None:
        from pyinstrument import Profiler

        self._path = path
        # "enabled" would follow one task of an event loop and label all others "await".
        self._profiler = Profiler(interval=INTERVAL_S, async_mode="disabled")
        self._ends_at = time.monotonic() + LIMIT_S
        self._profiler.start(target_description=path.stem)

    def stop_if_due(self) -> None:
        """Stop sampling once the limit is reached. Cheap, meant to be called regularly."""
        if self._profiler.is_running and time.monotonic() > self._ends_at:
            self._profiler.stop()

    def write(self) -> None:
        """Stop sampling and write the page. A failed write is logged."""
        if self._profiler.is_running:
            self._profiler.stop()
        try:
            with replaced(self._path) as file:
                file.write(self._profiler.output_html())
        except OutputError as error:
            log.warning("%s", error)


def flame_path(folder: Path, track: str, session: int) -> Path:
    """Path of the flame graph of a process in one session. A resumed run keeps those of earlier sessions."""
    again = f"-{session}" if session > 1 else ""
    return folder / f"flame_{file_name(track)}{again}.html"
