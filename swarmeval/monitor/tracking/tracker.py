"""The Tracker interface, which neither blocks nor fails a run, and its implementation for Weights & Biases.

Accepts numbers by name and knows nothing about monitors and scores. The calls to wandb are in wandb_run.
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

QUEUE_LENGTH = 10_000  # hours of samples at 1 Hz: 18 MB, or 96 MB with eight GPUs
OPEN_LIMIT_S = 5.0  # at the end of a run: for a server that has not responded yet
FINISH_LIMIT_S = 12.0  # for a server that has responded; longer than wandb_run's own limits
GIVEN_UP_LIMIT_S = 5.0  # after giving up on the server: for writing the rest to disk

log = logging.getLogger("swarmeval")


class Tracker(Protocol):
    """Receives live numbers and the final summary. log() never blocks, finish() has a time limit, neither raises."""

    def log(self, values: Mapping[str, float]) -> None: ...

    def finish(self, summary: Mapping[str, object]) -> None: ...


class NoTracker:
    """Tracks nothing."""

    def log(self, values: Mapping[str, float]) -> None:
        """Discard the values."""

    def finish(self, summary: Mapping[str, object]) -> None:
        """Discard the summary."""


class Run(Protocol):
    """The run that a WandbTracker's thread writes to. Any call may block or raise."""

    def log(self, values: Mapping[str, float]) -> None: ...

    def conclude(self, summary: Mapping[str, object]) -> None:
        """Send the summary and the result files."""

    def finish(self) -> None: ...


class WandbTracker:
    """A bounded queue and a thread in front of wandb, which may hang in any call. A full queue drops its oldest entry.

    The thread calls `open_run`; `give_up` makes hanging calls in it fail. Errors of wandb are logged once and never
    affect the tracked run.
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
        self.opened = threading.Event()  # set once opening has succeeded or failed
        self._summary: dict[str, object] | None = None  # once set, no more values are accepted
        self._complained = False
        self.dropped = 0  # entries dropped from a full queue
        self._thread = threading.Thread(target=self._serve, name="wandb", daemon=True)
        self._thread.start()

    def log(self, values: Mapping[str, object]) -> None:
        """Queue the values that are numbers."""
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        with self._changed:
            if self._summary is not None:
                return
            self.dropped += len(self._waiting) == self._waiting.maxlen
            self._waiting.append(numbers)
            self._changed.notify()

    def finish(self, summary: Mapping[str, object]) -> None:
        """Send the remaining values and end the W&B run, giving up after the time limits. Idempotent."""
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
            self._complained = True  # later errors are caused by give_up
            log.warning("W&B takes too long; the rest is in wandb/ in the run folder, run 'wandb sync' to send it")
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
                log.warning("W&B failed (%s); the run continues without it", line_of(error))
            return None


def make_tracker(
    config: RunConfig,
    folder: Path,
    run_id: str,
    manifest: Mapping[str, object],
    environ: Mapping[str, str] | None = None,
) -> Tracker:
    """Create the configured tracker. W&B starts in the background.

    `wandb.mode: off` always wins. Otherwise WANDB_MODE, if set, overrides the configured mode. Keys set in the config
    override the user's WANDB_* variables, which override our defaults. Raises ConfigError for an unknown WANDB_MODE,
    and for online mode without a login.
    """
    environ = os.environ if environ is None else environ
    mode = check_login(config, environ)
    if mode == "off":
        return NoTracker()
    known = dict(manifest)  # a copy, because another thread may change the manifest later
    subject = wandb_run.Subject(config, folder, run_id, known, environ)
    return WandbTracker(lambda: wandb_run.open_run(subject, mode), wandb_run.give_up)
