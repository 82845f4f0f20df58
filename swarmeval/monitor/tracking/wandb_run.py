"""Opens, fills and ends a Weights & Biases run.

The only module that uses wandb. Every call may block on a server, so the tracker calls it from a thread.
"""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swarmeval.monitor.tracking.subject import Subject, artifact_files, flat
from swarmeval.monitor.tracking.tracker import Store, line_of

UPLOAD_LIMIT_S = 4.0  # at the end of a run: once for uploading the files, and once for the rest
INIT_LIMIT_S = 30.0  # for the server to respond at the start; the run does not wait for it
STORE = Store(
    "W&B",
    "the rest is in wandb/ in the run folder, run 'wandb sync' to send it",
    finish_limit_s=12.0,  # longer than the limits above
    given_up_limit_s=5.0,  # for writing the rest to disk
)

log = logging.getLogger("swarmeval")


class WandbRun:
    """An open wandb run, with the methods that the tracker needs."""

    def __init__(self, run: Any, subject: Subject) -> None:
        self._run = run
        self._subject = subject
        self._hurried = False  # whether uploading the artifact was abandoned

    def log(self, values: Mapping[str, float]) -> None:
        self._run.log(dict(values))

    def conclude(self, summary: Mapping[str, object]) -> None:
        """Send the summary, the final manifest, and the result files as an artifact."""
        self._run.summary.update(flat(summary))
        self._run.config.update(self._subject.final_manifest(), allow_val_change=True)
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

        included, left_out = artifact_files(self._subject.folder, "W&B")
        artifact = wandb.Artifact(f"results-{self._subject.run_id}", type="results", metadata={"left_out": left_out})
        for path in included:
            artifact.add_file(str(path), skip_cache=True)
        try:
            self._run.log_artifact(artifact)
        except Exception as error:  # noqa: BLE001 (wandb may raise anything)
            if not self._hurried:
                log.warning("W&B did not accept the results as an artifact (%s)", line_of(error))


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
    return WandbRun(run, subject)


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
        project=subject.preferred("wandb.project", "WANDB_PROJECT"),
        entity=subject.preferred("wandb.entity", "WANDB_ENTITY"),
        tags=subject.preferred("wandb.tags", "WANDB_TAGS"),
        id=subject.run_id,
        name=subject.run_id,
        config=subject.clean_manifest(),
        mode="online" if mode == "online" else "offline",
        resume="allow",
        settings=settings,
    )
    run.define_metric("*", step_metric="elapsed_s")
    return run
