"""`python main.py loadtest`: its files, its output and the settings it refuses."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swarmeval.loadtest.request_rows import read
from tests.support.checkout import ROOT

SCRIPTED = ["engine=scripted", "replica.rows=auto", "loadtest.files_per_package=2", "eval_timeout=20.0"]


def command(folder: Path, *words: str) -> list[str]:
    script = folder / "script.json"
    script.write_text(json.dumps({"rows": 4, "steps": 5, "step_s": 0.002}))
    settings = [*SCRIPTED, f"model_id={script}", *words]
    run = ["loadtest", "--output_dir", str(folder / "run"), "--set", *settings]
    return [sys.executable, "main.py", *run]


def loadtest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, *words), cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_run_leaves_its_requests_its_tests_their_worth_and_its_report(tmp_path: Path) -> None:
    done = loadtest(
        tmp_path,
        "loadtest.levels=[{concurrency: 2, count: 6}, {rate: 50, count: 5}]",
        "trace=true",
        "loadtest.combine_with_model=true",
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    rows = list(read(run))
    assert [row.level for row in rows].count("2 at once") == 6
    assert [row.level for row in rows].count("50/s") == 5
    law = json.loads((run / "load.json").read_text())
    assert (law["finished"], law["failed"], law["requests"]) == (True, 0, 11)
    assert law["worth"]["numpy"]["functions requested"] == 11
    assert law["memory"]["functions"]
    assert re.fullmatch(r"0 of \d+", law["settings"]["tidied by the model"])  # a scripted replica writes no tests
    assert "11 requests for numpy, 2 load levels" in (run / "load_report.html").read_text()
    assert (run / "flame_coordinator.html").exists()
    kept = [json.loads(line) for line in (run / "generated_tests.jsonl").read_text().splitlines()]
    assert sum(len(line["asked"]) for line in kept) == 11
    assert len((run / "worth.jsonl").read_text().splitlines()) == len(kept)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["sessions"][0]["reason"] == "finished"
    assert manifest["skipped"]
    for line in ("load      2 at once: 6 answers; latency ", "load      50/s: 5 answers; latency ", "report    "):
        assert line in done.stdout
    made = subprocess.run([sys.executable, "main.py", "report", str(run)], cwd=ROOT, capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    again = loadtest(tmp_path, "loadtest.levels=[{concurrency: 1, count: 1}]")
    assert again.returncode == 0
    assert len(list(read(run))) == 1
    (archived,) = (run / "archive").iterdir()
    assert len(list(read(archived))) == 11


@pytest.mark.slow
def test_a_run_that_is_interrupted_reports_what_it_has(tmp_path: Path) -> None:
    words = command(tmp_path, "loadtest.levels=[{concurrency: 2, seconds: 300}]")
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        asked = tmp_path / "run" / "requests.csv"
        while not asked.exists() or asked.read_bytes().count(b"\n") < 5:  # the header and four rows
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "partial   stopped; repeat the command to start over" in out
    law = json.loads((tmp_path / "run" / "load.json").read_text())
    assert not law["finished"]
    assert law["requests"] >= 4


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("loadtest.packages=[nosuchpackage]",
         "loadtest.packages: package 'nosuchpackage' not found; install it, or give the path of its folder"),
        ("loadtest.levels=[{concurrency: 1}, {concurrency: 1}]",
         "config/loadtest.yaml: loadtest.levels lists 1 at once twice, and both levels would share one file; "
         "remove one"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_makes_nothing(tmp_path: Path, word: str, said: str) -> None:
    done = loadtest(tmp_path, word)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == f"swarmeval: {said}"
    assert not (tmp_path / "run").exists()
