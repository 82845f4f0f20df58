"""Claims about Trackio, with the real package and a real database, read back through its API."""

import importlib.util
import io
import sys
import threading
from pathlib import Path

import pytest

from swarmeval.monitor.tracking.trackio_run import muted
from tests.support.tracked_run import SECRET, everything_written, read, track

needs_trackio = pytest.mark.skipif(
    importlib.util.find_spec("trackio") is None, reason="trackio is not installed (pip install '.[trackio]')"
)
READ = """
import json
import trackio
from trackio.sqlite_storage import SQLiteStorage
(run,) = trackio.Api().runs("nightly")
rows = SQLiteStorage.get_logs("nightly", run.name)
artifact = SQLiteStorage.get_artifact_manifest("nightly", "results-" + run.name, "latest")
print(json.dumps({"name": run.name, "config": run.config, "rows": rows, "artifact": artifact}, default=str))
"""

PENDING = """
from trackio.sqlite_storage import SQLiteStorage
print("true" if SQLiteStorage.has_pending_data("nightly") else "false")
"""


def test_only_the_muted_thread_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with muted():
        print_here = sys.stdout
        print_here.write("hidden\n")
        other = threading.Thread(target=print_here.write, args=("shown\n",))
        other.start()
        other.join()
    assert capsys.readouterr().out == "shown\n"


def test_muting_does_not_undo_the_replacement_of_the_screen() -> None:
    before, display = sys.stdout, io.StringIO()
    try:
        with muted():
            sys.stdout = display
        assert sys.stdout is display
    finally:
        sys.stdout = before


@pytest.mark.slow
@needs_trackio
def test_a_local_database_holds_config_numbers_summary_and_files(tmp_path: Path) -> None:
    settings = {"trackio": {"enabled": True, "project": "nightly"}}
    environ = {"TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"}
    assert track(settings, tmp_path, environ)[1] == ""
    seen = read(READ, tmp_path, environ)
    assert seen["name"] == "run-7"
    assert (seen["config"]["seed"], seen["config"]["config"]["trackio"]["project"]) == (3, "nightly")
    numbers = [(row["elapsed_s"], row["jobs_per_s"]) for row in seen["rows"] if "elapsed_s" in row]
    assert numbers == [(0.0, 0.0), (1.0, 2.0), (2.0, 4.0)]
    summary = {"pass@1": 0.25, "outcomes/PASSED": 2, "intervals/pass@1/high": 0.4}
    assert summary.items() <= seen["rows"][-1].items()
    assert {entry["path"] for entry in seen["artifact"]["manifest"]} == {"score.json", "manifest.json", "report.html"}
    assert SECRET not in everything_written(tmp_path)


@pytest.mark.slow
@needs_trackio
def test_a_server_that_is_not_there_costs_seconds_and_one_warning(tmp_path: Path) -> None:
    environ = {
        "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1",
        "TRACKIO_SERVER_URL": "http://127.0.0.1:9", "TRACKIO_WRITE_TOKEN": SECRET,
    }  # fmt: skip
    took_s, said = track({"trackio": {"enabled": True, "project": "nightly"}}, tmp_path, environ)
    assert took_s < 12
    assert read(PENDING, tmp_path, environ) is True  # trackio sends it when the server is back
    first, last = said.splitlines()
    assert first.startswith("Trackio: trackio.init() could not create a remote client for 'http://127.0.0.1:9': ")
    assert last.startswith("Trackio failed (RuntimeError: trackio run is finishing; ")
    assert last.endswith("); the run continues without it")
    assert SECRET not in said
