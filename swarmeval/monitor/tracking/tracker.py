"""A two-method Tracker that never blocks and never fails a run, and the one that Weights & Biases stands behind.

Knows no monitor and no score: it takes numbers by name. What is said to wandb is in wandb_run.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from swarmeval.monitor.tracking import wandb_run
from swarmeval.monitor.tracking.wandb_login import check_login
from swarmeval.monitor.tracking.wandb_run import line_of
from swarmeval.settings.run_config import RunConfig

QUEUE_LENGTH = 10_000  # hours of samples at 1 Hz: 18 MB, with eight GPUs 96 MB
OPEN_LIMIT_S = 5.0  # at the end of a run, for a server that has not answered yet
FINISH_LIMIT_S = 12.0  # for one that has; wandb_run's own limits end before it
GIVEN_UP_LIMIT_S = 5.0  # and then the disk, with what no server took

log = logging.getLogger("swarmeval")


class Tracker(Protocol):
    """Where live numbers and the final summary go. log() never waits, finish() only so long, neither raises."""

    def log(self, values: Mapping[str, float]) -> None: ...

    def finish(self, summary: Mapping[str, object]) -> None: ...


class NoTracker:
    """Tracks nothing."""

    def log(self, values: Mapping[str, float]) -> None:
        """Forget the values."""

    def finish(self, summary: Mapping[str, object]) -> None:
        """Forget the summary."""


class Run(Protocol):
    """Where a WandbTracker's thread puts things; any call may wait, or raise anything."""

    def log(self, values: Mapping[str, float]) -> None: ...

    def conclude(self, summary: Mapping[str, object]) -> None:
        """The last numbers, and the files that hold them."""

    def finish(self) -> None: ...


class WandbTracker:
    """A bounded queue and a thread in front of wandb, which may hang in any call: full, the queue drops its oldest.

    `open_run` is called in that thread; `give_up` makes whatever hangs in it fail. What fails in wandb is logged once;
    the run being tracked never notices.
    """

    def __init__(
        self,
        open_run: Callable[[], Run],
        give_up: Callable[[], None] = lambda: None,
        queue_length: int = QUEUE_LENGTH,
        open_limit_s: float = OPEN_LIMIT_S,
        finish_limit_s: float = FINISH_LIMIT_S,
        given_up_limit_s: float = GIVEN_UP_LIMIT_S,
    ) -> None:
        self._open_run = open_run
        self._give_up = give_up
        self._open_limit_s = open_limit_s
        self._finish_limit_s = finish_limit_s
        self._given_up_limit_s = given_up_limit_s
        self._waiting: deque[dict[str, float]] = deque(maxlen=queue_length)
        self._changed = threading.Condition()
        self.opened = threading.Event()  # or it failed
        self._summary: dict[str, object] | None = None  # set: no more values come
        self._complained = False
        self.dropped = 0  # values the queue had no room for
        self._thread = threading.Thread(target=self._serve, name="wandb", daemon=True)
        self._thread.start()

    def log(self, values: Mapping[str, object]) -> None:
        """Take the values that are numbers."""
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        with self._changed:
            if self._summary is not None:
                return
            self.dropped += len(self._waiting) == self._waiting.maxlen
            self._waiting.append(numbers)
            self._changed.notify()

    def finish(self, summary: Mapping[str, object]) -> None:
        """Hand over the rest and end the W&B run, giving up after the time limit. Idempotent."""
        with self._changed:
            if self._summary is not None:
                return
            self._summary = dict(summary)
            self._changed.notify()
        if self.opened.wait(self._open_limit_s):
            self._thread.join(self._finish_limit_s)
        if self.dropped:
            log.warning("W&B was too slow: %d samples were dropped", self.dropped)
        if self._thread.is_alive():
            self._complained = True  # what fails from here on was made to
            log.warning("W&B takes too long; what it did not take is in the run folder's wandb/, for 'wandb sync'")
            self._give_up()
            self._thread.join(self._given_up_limit_s)

    def _serve(self) -> None:
        run = self._guarded(self._open_run)
        self.opened.set()
        while (values := self._next()) is not None:
            if run is not None:
                self._guarded(run.log, values)
        if run is not None:
            self._guarded(run.conclude, self._summary)
            self._guarded(run.finish)

    def _next(self) -> dict[str, float] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._summary is not None)
            return self._waiting.popleft() if self._waiting else None

    def _guarded(self, call: Callable[..., Any], *arguments: object) -> Any:
        try:
            return call(*arguments)
        except Exception as error:  # noqa: BLE001 (wandb may raise anything; tracking must not end a run)
            if not self._complained:
                self._complained = True
                log.warning("W&B failed, the run goes on without it (%s)", line_of(error))
            return None


def make_tracker(
    config: RunConfig,
    folder: Path,
    run_id: str,
    manifest: Mapping[str, object],
    environ: Mapping[str, str] | None = None,
) -> Tracker:
    """The tracker the settings ask for; W&B itself starts in the background.

    `wandb.mode: off` is off whatever the environment says. Otherwise WANDB_MODE, where the user set it, wins over
    offline or online. A key set in the config wins over the user's WANDB_* variables, and those over our defaults.
    Raises ConfigError for an unknown WANDB_MODE, and for online without a login.
    """
    environ = os.environ if environ is None else environ
    mode = check_login(config, environ)
    if mode == "off":
        return NoTracker()
    known = dict(manifest)  # as it is now: what is noted later is noted in another thread
    subject = wandb_run.Subject(config, folder, run_id, known, environ)
    return WandbTracker(lambda: wandb_run.open_run(subject, mode), wandb_run.give_up)
