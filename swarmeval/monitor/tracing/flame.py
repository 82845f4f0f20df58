"""A flame graph of the thread that makes it: where its Python spends the time, as a page that needs nothing else.

The one home of pyinstrument.
"""

import logging
import time
from pathlib import Path

from swarmeval.errors import OutputError
from swarmeval.files import replaced
from swarmeval.monitor.tracing.spans import file_name

INTERVAL_S = 0.01
LIMIT_S = 300.0  # that are looked at: five minutes make a page of some 10 MB

log = logging.getLogger("swarmeval")


class Flame:
    """Samples the calling thread from here on. All of its methods are called in this thread."""

    def __init__(self, path: Path) -> None:
        from pyinstrument import Profiler

        self._path = path
        # Not "enabled", which follows one task of an event loop and calls all others "await".
        self._profiler = Profiler(interval=INTERVAL_S, async_mode="disabled")
        self._ends_at = time.monotonic() + LIMIT_S
        self._profiler.start(target_description=path.stem)

    def stop_if_due(self) -> None:
        """Look no longer, once the limit is reached. Cheap; to be called now and then."""
        if self._profiler.is_running and time.monotonic() > self._ends_at:
            self._profiler.stop()

    def write(self) -> None:
        """Stop and leave the page. A disk that cannot take it is logged."""
        if self._profiler.is_running:
            self._profiler.stop()
        try:
            with replaced(self._path) as file:
                file.write(self._profiler.output_html())
        except OutputError as error:
            log.warning("%s", error)


def flame_path(folder: Path, track: str, session: int) -> Path:
    """Where the graph of a process of a session lies: a resumed run leaves the earlier ones as they are."""
    again = f"-{session}" if session > 1 else ""
    return folder / f"flame_{file_name(track)}{again}.html"
