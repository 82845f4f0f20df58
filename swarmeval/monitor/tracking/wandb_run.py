"""Opens, fills and ends a Weights & Biases run.

The only module that uses wandb. Every call may block on a server, so the tracker calls it from a thread.
"""

import contextlib
import json
import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmeval.secrets import scrubbed
from swarmeval.settings.run_config import RunConfig

UPLOAD_LIMIT_S = 4.0  # at the end of a run: once for uploading the files, and once for the rest
INIT_LIMIT_S = 30.0  # for the server to respond at the start; the run does not wait for it
ARTIFACT_BYTES = 20_000_000  # small enough to upload at the end of a run over an ordinary connection
RESULTS = (  # most important first; files that do not fit are left out
    "score.json", "manifest.json", "report.html", "agent_summary.json", "task_summary.json", "metrics.csv",
    "agent_*_evaluation.json", "agent_*_results.jsonl",
)  # fmt: skip
MOST_VALUES = 2_000  # limit of a summary, because there may be many profiles and unions

log = logging.getLogger("swarmeval")


@dataclass(frozen=True, slots=True)
class Subject:
    """The data of a tracked run that W&B receives."""

    config: RunConfig
    folder: Path
    run_id: str
    manifest: Mapping[str, object]
    environ: Mapping[str, str]  # the user's WANDB_* variables


class WandbRun:
    """An open wandb run, with the methods that the tracker needs."""

    def __init__(self, run: Any, folder: Path, run_id: str) -> None:
        self._run = run
        self._folder = folder
        self._run_id = run_id
        self._hurried = False  # whether uploading the artifact was abandoned

    def log(self, values: Mapping[str, float]) -> None:
        self._run.log(dict(values))

    def conclude(self, summary: Mapping[str, object]) -> None:
        """Send the summary, the final manifest, and the result files as an artifact."""
        self._run.summary.update(flat(summary))
        with contextlib.suppress(OSError, ValueError):  # a run that ended early may have no manifest
            manifest = json.loads((self._folder / "manifest.json").read_text(encoding="utf-8"))
            self._run.config.update(scrubbed(manifest), allow_val_change=True)
        if summary:
            # wandb contacts the server here without a timeout.
            thread = threading.Thread(target=self._log_results, name="wandb-artifact", daemon=True)
            thread.start()
            thread.join(UPLOAD_LIMIT_S)
            if thread.is_alive():
                self._hurried = True
                log.warning("W&B did not accept the results as an artifact within %.0f s", UPLOAD_LIMIT_S)

    def finish(self) -> None:
        """End the run and wandb itself, so that the process does not wait for wandb at exit."""
        import wandb

        try:
            self._run.finish()
        except TimeoutError:
            folder = Path(self._run.dir).parent
            log.warning("W&B did not accept everything in time; run 'wandb sync %s' to send the rest", folder)
        finally:
            wandb.teardown()

    def _log_results(self) -> None:
        import wandb

        included, left_out = artifact_files(self._folder)
        if left_out:
            limit_mb = ARTIFACT_BYTES // 1_000_000
            log.warning("W&B: files left out of the artifact, limited to %d MB: %s", limit_mb, ", ".join(left_out))
        artifact = wandb.Artifact(f"results-{self._run_id}", type="results", metadata={"left_out": left_out})
        for path in included:
            artifact.add_file(str(path), skip_cache=True)
        try:
            self._run.log_artifact(artifact)
        except Exception as error:  # noqa: BLE001 (wandb may raise anything)
            if not self._hurried:
                log.warning("W&B did not accept the results as an artifact (%s)", line_of(error))


def artifact_files(folder: Path) -> tuple[list[Path], list[str]]:
    """(files that fit into an artifact, names of those that do not), of the result files of a run folder."""
    included: list[Path] = []
    left_out: list[str] = []
    room = ARTIFACT_BYTES
    for path in (path for pattern in RESULTS for path in sorted(folder.glob(pattern))):
        size = path.stat().st_size
        if size > room:
            left_out.append(path.name)
            continue
        room -= size
        included.append(path)
    return included, left_out


def flat(values: Mapping[str, object]) -> dict[str, object]:
    """Flatten nested values to keys that W&B can list and plot, such as {"intervals/pass@1/low": 0.1}.

    A pair of numbers is treated as an interval. Nulls are left out.
    """
    leaves = dict(_leaves("", values))
    return dict(list(leaves.items())[:MOST_VALUES])


def _leaves(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{name}/{key}" if name else str(key), inner)
    elif isinstance(value, list | tuple):
        is_interval = len(value) == 2 and all(isinstance(end, int | float) for end in value)
        for key, inner in zip(("low", "high") if is_interval else range(len(value)), value, strict=True):
            yield from _leaves(f"{name}/{key}", inner)
    elif value is not None:
        yield name, value


def open_run(subject: Subject, mode: str) -> WandbRun:
    """Open a run; if opening it online fails, open it offline."""
    try:
        run = _init_run(subject, mode)
    except Exception as error:
        if mode != "online":
            raise
        _restart_wandb()
        run = _init_run(subject, "offline")
        log.warning(
            "W&B is not available online (%s); this run is recorded offline, run 'wandb sync %s' to send it",
            line_of(error),
            Path(run.dir).parent,
        )
    else:
        where = run.url if mode == "online" else Path(run.dir).parent
        log.info("W&B run %s (%s): %s", subject.run_id, mode, where)
    return WandbRun(run, subject.folder, subject.run_id)


def line_of(error: Exception) -> str:
    """Describe an error in one line: its type and message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def give_up() -> None:
    """Kill wandb's own process, which aborts all its requests. Its files on disk stay."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = path.read_text(errors="replace").rpartition(")")
            if name.endswith("(wandb-core") and int(rest.split()[1]) == os.getpid():
                os.kill(int(path.parent.name), signal.SIGKILL)


def _restart_wandb() -> None:
    """Restart wandb. Its process gets a second to end by itself before it is killed."""
    import wandb

    timer = threading.Timer(1.0, give_up)
    timer.start()
    with contextlib.suppress(Exception):  # wandb complains about a killed process
        wandb.teardown()
    timer.cancel()


def _init_run(subject: Subject, mode: str) -> Any:
    config, environ = subject.config, subject.environ
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # reporting to a server that hangs takes 20 s at exit
    import wandb

    def preferred(key: str, variable: str) -> Any:
        """Our value, or None if wandb should use the user's environment variable."""
        return None if variable in environ and not config.is_set(key) else config.at(key)

    wandb.setup(wandb.Settings(silent=True))  # before init, whose login prints to stderr
    settings = wandb.Settings(
        api_key=config.wandb.api_key if mode == "online" else None,
        silent=True,
        console="off",  # leave stdout and stderr alone
        disable_git=True,
        disable_code=True,
        disable_job_creation=True,
        save_code=False,
        x_save_requirements=False,
        x_disable_stats=True,  # the resource monitor already measures these
        x_disable_meta=True,  # meta would record the command line, and --set may contain the key
        finish_timeout=UPLOAD_LIMIT_S,
        finish_timeout_raises=True,
    )
    if "WANDB_INIT_TIMEOUT" not in environ:
        settings.init_timeout = INIT_LIMIT_S
    run: Any = wandb.init(
        dir=str(subject.folder),
        project=preferred("wandb.project", "WANDB_PROJECT"),
        entity=preferred("wandb.entity", "WANDB_ENTITY"),
        tags=preferred("wandb.tags", "WANDB_TAGS"),
        id=subject.run_id,
        name=subject.run_id,
        config=scrubbed(dict(subject.manifest)),
        mode="online" if mode == "online" else "offline",
        resume="allow",
        settings=settings,
    )
    run.define_metric("*", step_metric="elapsed_s")
    return run
