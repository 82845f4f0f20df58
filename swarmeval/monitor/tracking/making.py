"""Makes the trackers that the settings ask for, and refuses those that cannot work before a run begins."""

import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from swarmeval.errors import ConfigError
from swarmeval.monitor.tracking import mlflow_run, trackio_run, wandb_run
from swarmeval.monitor.tracking.subject import Subject
from swarmeval.monitor.tracking.tracker import NoTracker, QueuedTracker, SeveralTrackers, Tracker
from swarmeval.monitor.tracking.wandb_login import check_login
from swarmeval.settings.run_config import RunConfig

# Sections of the settings that need an extra of the same name -> a module of its package.
EXTRAS = {"mlflow": "mlflow", "trackio": "trackio", "opentelemetry": "opentelemetry.exporter.otlp.proto.http"}
OTLP_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package inside one that is missing
        return False


def check_trackers(
    config: RunConfig, environ: Mapping[str, str], is_installed: Callable[[str], bool] = _is_installed
) -> None:
    """Raise ConfigError if a tracker that the settings turn on cannot work here. Contacts no server."""
    check_login(config, environ)
    for section, module in EXTRAS.items():
        if config.at(f"{section}.enabled") and not is_installed(module):
            raise ConfigError(
                f"{section}.enabled is true but its package is not installed; "
                f"in the checkout: pip install '.[{section}]', or set {section}.enabled: false"
            )
    space = config.trackio.space_id or environ.get("TRACKIO_SPACE_ID")
    if config.trackio.enabled and space and not _hub_login(environ):
        raise ConfigError(
            f"trackio.space_id is {space!r} but there is no Hugging Face login; "
            "run 'hf auth login', set HF_TOKEN, or leave space_id out"
        )
    if config.opentelemetry.enabled and config.opentelemetry.endpoint is None:
        variable = next((name for name in OTLP_PROTOCOLS if environ.get(name)), "")
        if variable and not environ[variable].startswith("http/protobuf"):
            raise ConfigError(
                f"{variable} is {environ[variable]!r}, but spans are sent as http/protobuf; "
                "set opentelemetry.endpoint to a collector's HTTP port, usually 4318"
            )


def make_tracker(
    config: RunConfig,
    folder: Path,
    run_id: str,
    manifest: Mapping[str, object],
    environ: Mapping[str, str] | None = None,
) -> Tracker:
    """Create the configured trackers, which start in the background.

    `wandb.mode: off` always wins. Otherwise WANDB_MODE, if set, overrides the configured mode. Keys set in the config
    override the user's variables, which override our defaults. Raises ConfigError like check_trackers().
    """
    environ = os.environ if environ is None else environ
    check_trackers(config, environ)
    known = dict(manifest)  # a copy, because another thread may change the manifest later
    subject = Subject(config, folder, run_id, known, environ)
    trackers: list[Tracker] = []
    mode = check_login(config, environ)
    if mode != "off":
        trackers.append(QueuedTracker(wandb_run.STORE, lambda: wandb_run.open_run(subject, mode), wandb_run.give_up))
    if config.mlflow.enabled:
        trackers.append(QueuedTracker(mlflow_run.store(subject), lambda: mlflow_run.open_run(subject)))
    if config.trackio.enabled:
        trackers.append(QueuedTracker(trackio_run.STORE, lambda: trackio_run.open_run(subject)))
    if len(trackers) > 1:
        return SeveralTrackers(trackers)
    return trackers[0] if trackers else NoTracker()


def _hub_login(environ: Mapping[str, str]) -> bool:
    """Whether huggingface_hub will find a token, in a variable or in its file."""
    if environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN"):
        return True
    home = environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(environ.get("HF_TOKEN_PATH") or Path(home) / "token").expanduser().is_file()
