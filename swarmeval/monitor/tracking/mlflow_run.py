"""Opens, fills and ends an MLflow run.

The only module that uses mlflow. Every call may block on a server, so the tracker calls it from a thread.
"""

import json
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from swarmeval.monitor.tracking.subject import Subject, artifact_files, lasting, numbers
from swarmeval.monitor.tracking.tracker import Store

SERVER = Store("MLflow")
# Creating the tables of a new database took 8 s. Ending the process meanwhile would leave half of them.
DATABASE = Store("MLflow", open_limit_s=30.0)
RUN_ID_TAG = "swarmeval.run_id"
KEY_LENGTH, VALUE_LENGTH, BATCH = 250, 6_000, 100  # MLflow's limits on names, parameters and requests
UNSUITABLE = re.compile(r"[^\w./: -]")  # in MLflow's names
QUIET = {  # what the user sets takes precedence
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # usage figures for MLflow's makers
}

log = logging.getLogger("swarmeval")


class MlflowRun:
    """An open MLflow run, with the methods that the tracker needs."""

    def __init__(self, client: Any, run_id: str, known: Iterable[str], subject: Subject) -> None:
        """`known`: the names of the parameters that the run has already."""
        self._client = client
        self._run_id = run_id
        self._known = set(known)
        self._subject = subject
        self._step = 0

    def log(self, values: Mapping[str, float]) -> None:
        """Record numbers at a step, which is the whole second of the run."""
        self._step = max(self._step, int(values.get("elapsed_s", 0)))
        self._log_metrics(values)

    def conclude(self, summary: Mapping[str, object]) -> None:
        """Send the summary, what the manifest has gained, and the result files."""
        self._log_metrics(numbers(summary))
        self.log_params(lasting(self._subject.final_manifest()))
        if summary:
            included, _ = artifact_files(self._subject.folder, "MLflow")
            for path in included:
                self._client.log_artifact(self._run_id, str(path))

    def finish(self) -> None:
        """Set the final state of the run."""
        finished = self._subject.final_manifest().get("finished")
        self._client.set_terminated(self._run_id, "FINISHED" if finished else "KILLED")

    def log_params(self, values: Mapping[str, object]) -> None:
        """Record the parameters that the run does not have yet, because MLflow refuses other values for those."""
        from mlflow.entities import Param

        new = {name: value for name, value in params(values).items() if name not in self._known}
        for batch in _batches([Param(name, value) for name, value in new.items()]):
            self._client.log_batch(self._run_id, params=batch)
        self._known |= set(new)

    def _log_metrics(self, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        named = {mlflow_name(name): float(value) for name, value in values.items()}
        for batch in _batches([Metric(name, value, now_ms, self._step) for name, value in named.items()]):
            self._client.log_batch(self._run_id, metrics=batch)


def mlflow_name(name: str) -> str:
    """A name that MLflow accepts: "pass@1" becomes "pass_at_1"; other unsuitable characters become "_"."""
    parts = UNSUITABLE.sub("_", name.replace("@", "_at_")).split("/")
    return "/".join(part for part in parts if part.strip("."))[:KEY_LENGTH].rstrip("/") or "_"


def params(values: Mapping[str, object]) -> dict[str, str]:
    """Nested values as parameters, such as {"config/batch_size": "8"}. Lists become JSON, and nulls are left out."""
    return {mlflow_name(name): text[:VALUE_LENGTH] for name, text in _leaves("", values)}


def _leaves(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{name}/{key}" if name else str(key), inner)
    elif isinstance(value, list | tuple):
        yield name, json.dumps(value, ensure_ascii=False, default=str)
    elif value is not None:
        yield name, str(value)


def _batches(entries: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(entries), BATCH):
        yield entries[start : start + BATCH]


def store(subject: Subject) -> Store:
    """The kind of store that a run is sent to."""
    uri = subject.config.mlflow.tracking_uri or subject.environ.get("MLFLOW_TRACKING_URI", "")
    return DATABASE if not uri or uri.startswith("sqlite:") else SERVER


def open_run(subject: Subject) -> MlflowRun:
    """Open the run with this run's id if the store has it, otherwise a new one."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    for logger in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(logger).addHandler(logging.NullHandler())  # otherwise warnings go to stderr
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=subject.config.mlflow.tracking_uri)
    found = _existing(client, subject)
    if found is not None:
        client.update_run(found.info.run_id, status="RUNNING")
    run = found or client.create_run(
        _experiment_id(client, subject),
        run_name=subject.config.mlflow.run_name or subject.run_id,
        tags={**subject.config.mlflow.tags, RUN_ID_TAG: subject.run_id},
    )
    opened = MlflowRun(client, run.info.run_id, run.data.params, subject)
    opened.log_params({"config": subject.clean_manifest().get("config")})
    log.info("MLflow run %s: experiment %s, run %s", subject.run_id, run.info.experiment_id, run.info.run_id)
    return opened


def _existing(client: Any, subject: Subject) -> Any:
    """The run to continue, or None."""
    if subject.environ.get("MLFLOW_RUN_ID"):
        return client.get_run(subject.environ["MLFLOW_RUN_ID"])
    earlier = f"tags.`{RUN_ID_TAG}` = '{subject.run_id}'"
    return next(iter(client.search_runs([_experiment_id(client, subject)], earlier, max_results=1)), None)


def _experiment_id(client: Any, subject: Subject) -> str:
    """The experiment that the settings or the user's variables name; created if it does not exist."""
    environ, is_set = subject.environ, subject.config.is_set("mlflow.experiment")
    if environ.get("MLFLOW_EXPERIMENT_ID") and not is_set:
        return environ["MLFLOW_EXPERIMENT_ID"]
    name = subject.preferred("mlflow.experiment", "MLFLOW_EXPERIMENT_NAME") or environ["MLFLOW_EXPERIMENT_NAME"]
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id) if found is not None else str(client.create_experiment(name))
