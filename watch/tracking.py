"""Weights & Biases behind a two-method Tracker that never blocks and never fails a run.

The one home of wandb. Knows no monitor and no score: it takes numbers by name.
"""

import configparser
import logging
import netrc
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from bench.errors import ConfigError
from bench.settings import RunConfig

QUEUE_LENGTH = 10_000  # hours of samples at 1 Hz, a few MB
FINISH_LIMIT_S = 30.0
MODES = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline", "disabled": "off"}

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
    """What we use of a wandb run."""

    summary: Any

    def log(self, data: dict[str, Any]) -> None: ...

    def finish(self) -> None: ...


class WandbTracker:
    """A bounded queue and a thread in front of wandb, which may hang in any call: full, the queue drops its oldest.

    `open_run` is called in that thread. What fails in wandb is logged once; the run being tracked never notices.
    """

    def __init__(
        self, open_run: Callable[[], Run], queue_length: int = QUEUE_LENGTH, finish_limit_s: float = FINISH_LIMIT_S
    ) -> None:
        self._open_run = open_run
        self._finish_limit_s = finish_limit_s
        self._waiting: deque[dict[str, float]] = deque(maxlen=queue_length)
        self._changed = threading.Condition()
        self._summary: dict[str, object] | None = None  # set: no more values come
        self._complained = False
        self.dropped = 0  # values the queue had no room for
        self._thread = threading.Thread(target=self._serve, name="wandb", daemon=True)
        self._thread.start()

    def log(self, values: Mapping[str, float]) -> None:
        with self._changed:
            if self._summary is not None:
                return
            self.dropped += len(self._waiting) == self._waiting.maxlen
            self._waiting.append(dict(values))
            self._changed.notify()

    def finish(self, summary: Mapping[str, object]) -> None:
        """Hand over the rest and end the W&B run, giving up after the time limit. Idempotent."""
        with self._changed:
            if self._summary is not None:
                return
            self._summary = dict(summary)
            self._changed.notify()
        self._thread.join(self._finish_limit_s)
        if self.dropped:
            log.warning("W&B was too slow: %d samples were dropped", self.dropped)
        if self._thread.is_alive():
            log.warning(
                "W&B did not finish within %.0f s; what it got is in the run folder's wandb/", self._finish_limit_s
            )

    def _serve(self) -> None:
        run = self._guarded(self._open_run)
        while (values := self._next()) is not None:
            if run is not None:
                self._guarded(run.log, values)
        if run is not None:
            self._guarded(run.summary.update, self._summary)
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
                line = " ".join(str(error).split())
                log.warning("W&B failed, the run goes on without it (%s: %s)", type(error).__name__, line)
            return None


def make_tracker(
    config: RunConfig,
    folder: Path,
    run_id: str,
    manifest: Mapping[str, object],
    environ: Mapping[str, str] | None = None,
) -> Tracker:
    """The tracker the settings ask for; W&B itself starts in the background.

    `wandb: off` is off whatever the environment says. Otherwise WANDB_MODE, where the user set it, wins over
    offline or online. A key set in the config wins over the user's WANDB_* variables, and those over our defaults.
    Raises ConfigError for an unknown WANDB_MODE, and for online without a login.
    """
    environ = os.environ if environ is None else environ
    mode = check_login(config, environ)
    if mode == "off":
        return NoTracker()
    return WandbTracker(lambda: _open_run(config, mode, folder, run_id, _without_key(manifest), environ))


def check_login(config: RunConfig, environ: Mapping[str, str]) -> str:
    """The mode W&B will run in. Raises ConfigError for an unknown WANDB_MODE, and for online without a login."""
    mode = _mode(config, environ)
    if mode == "online" and not (config.wandb_api_key or _logged_in(environ)):
        raise ConfigError(
            "wandb is 'online' but there is no W&B login; run 'wandb login', set WANDB_API_KEY, or set wandb: offline"
        )
    return mode


def _mode(config: RunConfig, environ: Mapping[str, str]) -> str:
    wish = environ.get("WANDB_MODE", "")
    if config.wandb == "off" or not wish:
        return config.wandb
    if wish not in MODES:
        raise ConfigError(f"WANDB_MODE is {wish!r}; use one of {', '.join(MODES)}, or unset it")
    return MODES[wish]


def _open_run(
    config: RunConfig,
    mode: str,
    folder: Path,
    run_id: str,
    manifest: Mapping[str, object],
    environ: Mapping[str, str],
) -> Run:
    import wandb

    def chosen(key: str, variable: str) -> Any:
        """Our value, or None where wandb shall take the user's variable."""
        return None if variable in environ and key not in config.model_fields_set else getattr(config, key)

    wandb.setup(wandb.Settings(silent=True))  # before init, whose login would speak on stderr
    settings = wandb.Settings(
        api_key=config.wandb_api_key if mode == "online" else None,  # offline has no use for it
        silent=True,
        console="off",  # leave stdout and stderr alone
        disable_git=True,
        disable_code=True,
        disable_job_creation=True,
        save_code=False,
        x_save_requirements=False,
        x_disable_stats=True,  # the resource monitor measures, once
        x_disable_meta=True,  # would record the command line, where --set may carry the key
        finish_timeout=FINISH_LIMIT_S,
    )
    if "WANDB_INIT_TIMEOUT" not in environ:
        settings.init_timeout = FINISH_LIMIT_S  # a server that hangs would hold the process at exit for this long
    run: Any = wandb.init(
        dir=str(folder),
        project=chosen("wandb_project", "WANDB_PROJECT"),
        entity=chosen("wandb_entity", "WANDB_ENTITY"),
        tags=chosen("wandb_tags", "WANDB_TAGS"),
        id=run_id,
        name=run_id,
        config=dict(manifest),
        mode="online" if mode == "online" else "offline",
        resume="allow",
        settings=settings,
    )
    run.define_metric("*", step_metric="elapsed_s")
    log.info("W&B run %s (%s): %s", run_id, mode, run.url if mode == "online" else run.dir)
    opened: Run = run
    return opened


def _logged_in(environ: Mapping[str, str]) -> bool:
    """Whether wandb will find a login without asking: a variable, or the server's entry in ~/.netrc."""
    if environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    home = Path(environ.get("HOME", "~")).expanduser()
    try:
        entries = netrc.netrc(environ.get("NETRC") or home / ".netrc")
    except (OSError, netrc.NetrcParseError):
        return False
    return entries.authenticators(urlsplit(_server(environ, home)).netloc) is not None


def _server(environ: Mapping[str, str], home: Path) -> str:
    """The W&B server: the user's variable, what `wandb login --host` wrote, or the public one."""
    settings = configparser.ConfigParser(interpolation=None)
    folder = Path(environ.get("WANDB_CONFIG_DIR") or home / ".config" / "wandb")
    try:
        settings.read(folder / "settings")
    except configparser.Error:
        settings.clear()
    written = settings.get("default", "base_url", fallback="https://api.wandb.ai")
    return environ.get("WANDB_BASE_URL") or written


def _without_key(values: Mapping[str, object]) -> dict[str, object]:
    """The values without any wandb_api_key, however deep."""
    return {
        name: _without_key(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if name != "wandb_api_key"
    }
