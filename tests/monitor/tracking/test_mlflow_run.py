"""Claims about MLflow, with the real package, a real database and servers on a loopback port."""

import importlib.util
import socket
from pathlib import Path

import pytest

from swarmeval.errors import ConfigError
from swarmeval.monitor.tracking.mlflow_run import mlflow_name, params
from swarmeval.settings.loading import parse_set, validate
from tests.support.otlp_receiver import collector
from tests.support.tracked_run import SECRET, everything_written, read, track

needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed (pip install '.[mlflow]')"
)
READ = """
import json
from mlflow import MlflowClient
client = MlflowClient()
experiment = client.get_experiment_by_name("nightly")
runs = client.search_runs([experiment.experiment_id])
(run,) = runs
history = client.get_metric_history(run.info.run_id, "jobs_per_s")
print(json.dumps({
    "name": run.info.run_name, "status": run.info.status, "tags": dict(run.data.tags), "params": dict(run.data.params),
    "metrics": dict(run.data.metrics), "history": [(one.step, one.value) for one in history],
    "files": sorted(file.path for file in client.list_artifacts(run.info.run_id)),
}))
"""


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("pass@1", "pass_at_1"),
        ("intervals/pass@1/low", "intervals/pass_at_1/low"),
        ("replicas/cpu:0/weights", "replicas/cpu:0/weights"),
        ("gpu0/power_w", "gpu0/power_w"),
        ("agents/a,b (c)/x", "agents/a_b _c_/x"),
        ("../x//y/.", "x/y"),
        ("//", "_"),
        ("x" * 300, "x" * 250),
    ],
)
def test_a_name_that_mlflow_refuses_becomes_one_that_it_accepts(name: str, accepted: str) -> None:
    assert mlflow_name(name) == accepted


def test_settings_become_parameters_with_lists_as_json() -> None:
    values = {"config": {"batch_size": 8, "stop": None, "wandb": {"tags": ["a", "b"]}}, "task_ids": []}
    assert params(values) == {"config/batch_size": "8", "config/wandb/tags": '["a", "b"]', "task_ids": "[]"}


def test_a_password_in_the_uri_is_refused_unshown() -> None:
    with pytest.raises(ConfigError) as refused:
        validate(
            parse_set([f"mlflow.tracking_uri=postgresql://me:{SECRET}@host/db"]), "x.yaml", ["mlflow.tracking_uri"]
        )
    assert str(refused.value) == (
        "command line: mlflow.tracking_uri: the URI contains user:password@; "
        "put it into the variable MLFLOW_TRACKING_URI instead"
    )


@pytest.mark.slow
@needs_mlflow
def test_a_database_holds_parameters_numbers_summary_and_files(tmp_path: Path) -> None:
    settings = {"mlflow": {"enabled": True, "tags": {"team": "search"}}, "batch_size": 4}
    environ = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/m.db", "MLFLOW_EXPERIMENT_NAME": "nightly"}
    assert track(settings, tmp_path, environ)[1] == ""
    resumed = {**settings, "batch_size": 5}  # a resume with another value of a parameter is recorded all the same
    assert track(resumed, tmp_path, environ)[1] == ""
    seen = read(READ, tmp_path, environ)
    assert (seen["name"], seen["status"], seen["tags"]["team"]) == ("run-7", "FINISHED", "search")
    assert seen["tags"]["swarmeval.run_id"] == "run-7"
    expected = {"config/batch_size": "4", "seed": "3", "task_ids": '["T/0", "T/1"]', "replicas/cpu:0/weights": "nf4"}
    assert expected.items() <= seen["params"].items()
    assert "finished" not in seen["params"]
    assert sorted(seen["history"]) == [[0, 0.0], [0, 0.0], [1, 2.0], [1, 2.0], [2, 4.0], [2, 4.0]]
    summary = {"pass_at_1": 0.25, "outcomes/PASSED": 2.0, "intervals/pass_at_1/high": 0.4}
    assert summary.items() <= seen["metrics"].items()
    assert seen["files"] == ["manifest.json", "report.html", "score.json"]
    assert SECRET not in everything_written(tmp_path)


@pytest.mark.slow
@needs_mlflow
def test_a_server_that_hangs_costs_seconds_and_one_warning(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        took_s, said = track({"mlflow": {"enabled": True, "tracking_uri": uri}}, tmp_path, wait_s=0)
    assert 5 <= took_s < 5 + 3
    assert said == "MLflow takes too long; the rest was not sent; all results are in the run folder\n"


@pytest.mark.slow
@needs_mlflow
def test_a_server_that_refuses_costs_no_time_and_one_warning(tmp_path: Path) -> None:
    with collector() as received:  # answers no GET request
        took_s, said = track({"mlflow": {"enabled": True, "tracking_uri": received.url}}, tmp_path)
    assert took_s < 2
    assert said.startswith("MLflow failed (MlflowException: API request to endpoint /api/2.0/mlflow/")
    assert said.endswith("); the run continues without it\n")
    assert said.count("\n") == 1
