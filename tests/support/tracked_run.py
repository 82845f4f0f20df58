"""A small tracked run in a new process, with the real trackers and warnings as errors."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.checkout import ROOT

SECRET = "planted0secret0value"
SCRIPT = """
import json, sys, time
from pathlib import Path
from swarmeval.settings.run_config import RunConfig
from swarmeval.monitor.tracking.making import make_tracker
from swarmeval.runs.folder import write_manifest
settings, folder, wait_s = json.loads(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
config = RunConfig.model_validate({**settings, "wandb": {"api_key": "planted0secret0value"}})
manifest = {"config": config.model_dump(mode="json", exclude={"wandb": {"api_key"}}), "finished": False, "seed": 3,
            "url": "https://me:planted0secret0value@host/", "task_ids": ["T/0", "T/1"]}
ended = {**manifest, "finished": True, "replicas": {"cpu:0": {"weights": "nf4"}}}
write_manifest(folder, ended)
(folder / "score.json").write_text("{}")
(folder / "report.html").write_text("<p>")
tracker = make_tracker(config, folder, "run-7", manifest)
tracker.opened.wait(wait_s)
for step in range(3):
    tracker.log({"elapsed_s": float(step), "jobs_per_s": 2.0 * step})
began = time.monotonic()
tracker.finish({"pass@1": 0.25, "outcomes": {"PASSED": 2}, "intervals": {"pass@1": [0.1, 0.4]}, "model_id": "m"})
print(f"{time.monotonic() - began:.1f}")
"""


def track(
    settings: dict[str, Any], folder: Path, environ: dict[str, str] | None = None, wait_s: float = 60
) -> tuple[float, str]:
    """Track a run; return (seconds that its end took, stderr)."""
    done = _python(SCRIPT, json.dumps(settings), str(folder), str(wait_s), folder=folder, environ=environ or {})
    return float(done.stdout), done.stderr


def read(script: str, folder: Path, environ: dict[str, str]) -> Any:
    """The JSON that a script prints in another new process."""
    return json.loads(_python(script, folder=folder, environ=environ).stdout)


def _python(script: str, *words: str, folder: Path, environ: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "TRACKIO_"))}
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=folder,
        env={**inherited, "HOME": str(folder), "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done


def everything_written(folder: Path) -> str:
    return "".join(path.read_bytes().decode(errors="replace") for path in folder.rglob("*") if path.is_file())
