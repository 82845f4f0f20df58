"""Opens, fills and ends a Trackio run.

The only module that uses trackio. Every call may block on a server, so the tracker calls it from a thread.
"""

import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from swarmeval.monitor.tracking.subject import Subject, artifact_files, lasting, numbers
from swarmeval.monitor.tracking.tracker import Store

STORE = Store("Trackio")

log = logging.getLogger("swarmeval")


class TrackioRun:
    """An open Trackio run, with the methods that the tracker needs."""

    def __init__(self, run: Any, subject: Subject) -> None:
        self._run = run
        self._subject = subject
        self._has_results = False

    def log(self, values: Mapping[str, float]) -> None:
        self._run.log(dict(values))

    def conclude(self, summary: Mapping[str, object]) -> None:
        """Send the summary, as the values of the last step."""
        if summary:
            self._run.log(numbers(summary))
            self._has_results = True

    def finish(self) -> None:
        """Send what is left, then the result files as an artifact.

        In this order, because trackio saves values that a lost server did not take, and then waits for it with the
        artifact.
        """
        with muted():
            self._run.finish()
            if self._has_results:
                self._log_results()

    def _log_results(self) -> None:
        import trackio

        included, left_out = artifact_files(self._subject.folder, "Trackio")
        artifact = trackio.Artifact(f"results-{self._subject.run_id}", type="results", metadata={"left_out": left_out})
        for path in included:
            artifact.add_file(path)
        self._run.log_artifact(artifact)


def open_run(subject: Subject) -> TrackioRun:
    """Open the run with this run's id; continue it if it exists."""
    import trackio

    warnings.showwarning = _Forwarding(warnings.showwarning, str(Path(trackio.__file__).parent))
    with muted():
        run = trackio.init(
            project=subject.config.trackio.project,
            name=subject.run_id,
            space_id=subject.config.trackio.space_id,
            config=lasting(subject.clean_manifest()),
            resume="allow",
            embed=False,
            auto_log_cpu=False,  # the resource monitor already measures these
            auto_log_gpu=False,
        )
    log.info("Trackio run %s: project %s, in %s", subject.run_id, run.project, run.url or trackio.utils.TRACKIO_DIR)
    return TrackioRun(run, subject)


@contextmanager
def muted() -> Iterator[None]:
    """Discard what this thread prints, because trackio prints to the screen. Other threads are not affected."""
    before = sys.stdout
    ours = cast(TextIO, _WithoutThread(before, threading.get_ident()))
    sys.stdout = ours
    try:
        yield
    finally:
        if sys.stdout is ours:  # otherwise a progress display has replaced it meanwhile
            sys.stdout = before


class _WithoutThread:
    """A text stream that discards what one thread writes."""

    def __init__(self, stream: TextIO, thread: int) -> None:
        self._stream = stream
        self._thread = thread

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Forwarding:
    """Sends the first warning of a package to our log, and those of others to the previous function."""

    def __init__(self, previous: Any, folder: str) -> None:
        self._previous = previous
        self._folder = folder
        self._has_warned = False

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not filename.startswith(self._folder):
            self._previous(message, category, filename, lineno, file, line)
        elif not self._has_warned:
            self._has_warned = True
            log.warning("Trackio: %s", " ".join(str(message).split()))
