"""docs/slurm.sh with a fake SLURM: a preempted run drains, is requeued and resumes; exit codes are passed on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.checkout import ROOT, executable

SCRIPT = ROOT / "docs" / "slurm.sh"
# A step's process starts with default signal handlers, although the shell that starts it ignores SIGINT by then.
SRUN = """#!{python}
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
words = [word for word in sys.argv[1:] if not word.startswith(("--ntasks", "--cpus-per-task"))]
open(os.environ["FAKES"] + "/step", "w").write(str(os.getpid()))
os.execvp(words[0], words)
"""


class Cluster:
    """SLURM commands that record how they were called, and a checkout to submit from."""

    def __init__(self, folder: Path) -> None:
        self.fakes = folder / "bin"
        self.submitted_from = folder / "checkout"
        executable(self.fakes / "srun", SRUN.format(python=sys.executable))
        executable(
            self.fakes / "scancel", '#!/bin/sh\necho "$@" >>"$FAKES/scancelled"; kill -INT "$(cat "$FAKES/step")"\n'
        )
        executable(self.fakes / "squeue", '#!/bin/sh\necho "${JOB_STATE-RUNNING}"\n')
        executable(self.fakes / "scontrol", '#!/bin/sh\necho "$@" >>"$FAKES/requeued"\n')
        self.python('exec python3 "$@"')

    def python(self, line: str) -> None:
        """Make this shell line the checkout's .venv/bin/python."""
        executable(self.submitted_from / ".venv/bin/python", f"#!/bin/sh\n{line}\n")

    def start(self, *words: str, **env: str) -> "subprocess.Popen[str]":
        given = {"SLURM_JOB_ID": "17", "SLURM_SUBMIT_DIR": str(self.submitted_from), "FAKES": str(self.fakes)}
        path = f"{self.fakes}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen(
            ["bash", SCRIPT, *words], env=os.environ | given | {"PATH": path} | env, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def called(self, name: str) -> list[str]:
        path = self.fakes / name
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_it_is_a_script_that_bash_can_read() -> None:
    read = subprocess.run(["bash", "-n", SCRIPT], capture_output=True, text=True)
    assert (read.returncode, read.stderr, os.access(SCRIPT, os.X_OK)) == (0, "", True)


def test_its_directives_precede_its_commands_and_request_a_signal_in_time() -> None:
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    orders = {line.split()[1].split("=")[0]: line for line in lines[:first] if line.startswith("#SBATCH ")}
    assert not any(line.startswith("#SBATCH") for line in lines[first:])
    assert {"--nodes", "--gpus-per-node", "--requeue", "--open-mode", "--signal"} <= orders.keys()
    assert orders["--signal"] == "#SBATCH --signal=B:TERM@120"


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 1, 2, 130])
def test_the_job_has_the_exit_code_of_the_run_and_is_not_queued_again(cluster: Cluster, code: int) -> None:
    cluster.python(f'echo "$@"; exit {code}')
    with cluster.start("--num_tasks", "3") as job:
        out, _ = job.communicate(timeout=30)
    assert job.returncode == code
    assert "main.py --config config/config.yaml --num_tasks 3\n" in out
    assert cluster.called("requeued") == []


HEEDLESS = "trap 'n=$((n+1)); [ $n -lt 2 ] || exit 130' INT; n=0; echo begun; while :; do sleep 0.05; done"


@pytest.mark.slow
@pytest.mark.parametrize(("state", "requeued"), [("RUNNING", ["requeue 17"]), ("CANCELLED", []), ("PREEMPTED", [])])
def test_a_slow_drain_is_stopped_and_only_a_running_job_is_queued_again(
    cluster: Cluster, state: str, requeued: list[str]
) -> None:
    cluster.python(HEEDLESS)
    with cluster.start(SWARMEVAL_DRAIN_S="0.3", JOB_STATE=state) as job:
        assert job.stdout is not None
        while job.stdout.readline() != "begun\n":
            pass
        job.send_signal(signal.SIGTERM)
        job.send_signal(signal.SIGTERM)
        job.communicate(timeout=30)
    assert job.returncode == 130
    assert cluster.called("scancelled") == ["--signal=INT 17"] * 2
    assert cluster.called("requeued") == requeued


@pytest.mark.slow
def test_a_preempted_run_drains_is_queued_again_and_the_next_job_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    cluster.python(f'cd {ROOT} && exec {sys.executable} "$@"')
    folder = tmp_path / "run"
    words = ["--config", "config/smoke.yaml", "--num_agents", "10", "--num_tasks", "60", "--output_dir", str(folder)]
    words += ["--set", "engine=scripted", "eval_timeout_scale=1"]
    journal = folder / "journal.jsonl"
    with cluster.start(*words) as job:
        while not journal.exists() or journal.stat().st_size < 20_000:
            time.sleep(0.005)
        job.send_signal(signal.SIGTERM)
        out, _ = job.communicate(timeout=120)
    assert (job.returncode, cluster.called("requeued")) == (130, ["requeue 17"]), out
    assert "asked to stop: running jobs have at most 90 s to finish" in out
    before = journal.read_bytes()
    with cluster.start(*words, SLURM_RESTART_COUNT="1") as job:
        out, _ = job.communicate(timeout=120)
    assert (job.returncode, cluster.called("requeued")) == (0, ["requeue 17"]), out
    assert journal.read_bytes().startswith(before)
    sessions = json.loads((folder / "manifest.json").read_text())["sessions"]
    assert [session["reason"] for session in sessions] == ["drained", "finished"]
