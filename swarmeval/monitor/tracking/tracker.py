"""The Tracker interface, which neither blocks nor fails a run, and its implementation as a queue with a thread.

Accepts numbers by name and knows nothing about monitors and scores. The stores behind it are in the modules *_run.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

QUEUE_LENGTH = 10_000  # hours of samples at 1 Hz: 18 MB, or 96 MB with eight GPUs

Entry = TypeVar("Entry")
Received = TypeVar("Received", contravariant=True)

log = logging.getLogger("swarmeval")


class Finishing(Protocol):
    """Something that receives the final summary. finish() has a time limit and never raises."""

    def finish(self, summary: Mapping[str, object]) -> None: ...


class Tracker(Finishing, Protocol):
    """Receives live numbers and the final summary. log() never blocks, and neither method raises."""

    def log(self, values: Mapping[str, float]) -> None: ...


class NoTracker:
    """Tracks nothing."""

    def log(self, values: Mapping[str, float]) -> None:
        """Discard the values."""

    def finish(self, summary: Mapping[str, object]) -> None:
        """Discard the summary."""


class SeveralTrackers:
    """Gives everything to each of several trackers."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = tuple(trackers)

    def log(self, values: Mapping[str, float]) -> None:
        """Give the values to each tracker."""
        for tracker in self.trackers:
            tracker.log(values)

    def finish(self, summary: Mapping[str, object]) -> None:
        """Finish all trackers at the same time."""
        finish_all(self.trackers, summary)


def finish_all(trackers: Sequence[Finishing], summary: Mapping[str, object]) -> None:
    """Finish all at the same time, so that their time limits do not add up."""
    threads = [threading.Thread(target=tracker.finish, args=(summary,), daemon=True) for tracker in trackers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class StoredRun(Protocol[Received]):
    """The run in a store that a QueuedTracker's thread writes to. Any call may block or raise."""

    def log(self, values: Received) -> None: ...

    def conclude(self, summary: Mapping[str, object]) -> None:
        """Send the summary and the result files."""

    def finish(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Store:
    """A kind of store, with the limits on waiting for it at the end of a run."""

    name: str  # as shown to the user
    remedy: str = "the rest was not sent; all results are in the run folder"  # completes "... takes too long; "
    open_limit_s: float = 5.0  # for a store that has not responded yet
    finish_limit_s: float = 12.0  # for a store that has responded
    given_up_limit_s: float = 0.0  # after giving up on the store


class QueuedTracker(Generic[Entry]):
    """A bounded queue and a thread in front of a store, which may hang in any call. A full queue drops its oldest.

    The thread calls `open_run`; `give_up` makes hanging calls in it fail. Errors of the store are logged once and never
    affect the tracked run.
    """

    def __init__(
        self,
        store: Store,
        open_run: Callable[[], StoredRun[Entry]],
        give_up: Callable[[], None] = lambda: None,
        queue_length: int = QUEUE_LENGTH,
    ) -> None:
        self._store = store
        self._open_run = open_run
        self._give_up = give_up
        self._waiting: deque[Entry] = deque(maxlen=queue_length)
        self._changed = threading.Condition()
        self.opened = threading.Event()  # set once opening has succeeded or failed
        self._summary: dict[str, object] | None = None  # once set, no more entries are accepted
        self._complained = False
        self.dropped = 0  # entries dropped from a full queue
        self._thread = threading.Thread(target=self._serve, name=store.name, daemon=True)
        self._thread.start()

    def log(self, values: Entry) -> None:
        """Queue an entry."""
        with self._changed:
            if self._summary is not None:
                return
            self.dropped += len(self._waiting) == self._waiting.maxlen
            self._waiting.append(values)
            self._changed.notify()

    def finish(self, summary: Mapping[str, object]) -> None:
        """Send the remaining entries and end the run in the store, giving up after the time limits. Idempotent."""
        with self._changed:
            if self._summary is not None:
                return
            self._summary = dict(summary)
            self._changed.notify()
        store = self._store
        if self.opened.wait(store.open_limit_s):
            self._thread.join(store.finish_limit_s)
        if self.dropped:
            log.warning("%s was too slow: %d entries were dropped", store.name, self.dropped)
        if self._thread.is_alive():
            self._complained = True  # later errors are caused by give_up
            log.warning("%s takes too long; %s", store.name, store.remedy)
            self._give_up()
            self._thread.join(store.given_up_limit_s)

    def _serve(self) -> None:
        run = self._guarded(self._open_run)
        self.opened.set()
        while (entry := self._next()) is not None:
            if run is not None:
                self._guarded(run.log, entry)
        if run is not None:
            self._guarded(run.conclude, self._summary)
            self._guarded(run.finish)

    def _next(self) -> Entry | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._summary is not None)
            return self._waiting.popleft() if self._waiting else None

    def _guarded(self, call: Callable[..., Any], *arguments: object) -> Any:
        try:
            return call(*arguments)
        except Exception as error:  # noqa: BLE001 (a store may raise anything; tracking must not end a run)
            if not self._complained:
                self._complained = True
                log.warning("%s failed (%s); the run continues without it", self._store.name, line_of(error))
            return None


def line_of(error: Exception) -> str:
    """Describe an error in one line: its type and message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
