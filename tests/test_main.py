"""The command line as users see it: exit codes, one-line errors, loaded libraries, files left behind."""

import csv
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support import tiny_model
from tests.support.checkout import ROOT
from tests.support.command_line import SMOKE, agent_results, start, swarmeval


@pytest.mark.slow
def test_help_names_every_flag_and_command_and_loads_nothing_heavy() -> None:
    program = (
        "import sys, swarmeval.cli as main\n"
        "try: main.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'pydantic', 'rich', 'psutil', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    for word in ("--config", "--num_tasks", "--num_agents", "--benchmark", "--output_dir", "--fresh", "--set", "score"):
        assert word in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("scripted", [True, False])
def test_the_coordinator_never_loads_torch(tmp_path: Path, scripted: bool) -> None:
    words = ["--num_tasks", "1", "--output_dir", str(tmp_path / "run"), *SMOKE]
    if not scripted:
        words[-2:] = [f"model_id={tiny_model.save(tmp_path / 'model')}", "max_new_tokens=1", "eval_timeout_scale=1"]
    program = (
        "import sys, swarmeval.cli as main\n"
        f"code = main.main({words!r})\n"
        "print(code, sorted({'torch', 'transformers', 'bitsandbytes', 'numpy', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("0 []\n")


REFUSED = [
    (["--config", "no.yaml"], "no.yaml: no such file; give an existing file with --config"),
    (["--set", "batch_sze=8"], "command line: unknown key 'batch_sze'; did you mean 'batch_size'?"),
    (["--num_tasks", "0"], "command line: humaneval_limit is 0; it should be greater than or equal to 1"),
    (["--benchmark", "mbp"], "benchmark is 'mbp'; did you mean 'mbpp'?"),
    (["--num_tasks", "165", *SMOKE], "humaneval_limit is 165, but HumanEval has 164 tasks"),
    (
        ["--config", "config/smoke.yaml", "--set", "model_id=/no/such/folder"],
        "/no/such/folder: neither a folder nor a hub name of the form owner/name",
    ),
    (
        ["--config", "config/smoke.yaml", "--output_dir", "/proc/x", "--set", "engine=scripted"],
        "/proc/x: cannot be written (No such file or directory); fix this or choose another --output_dir",
    ),
    (["--num_tasks", "x"], "argument --num_tasks: invalid int value: 'x'; see main.py --help"),
    (
        ["scor", "x"],
        "unknown command 'scor'; use one of score, compare, union, export, report, serve, loadtest, doctor; see",
    ),
    (
        ["--config", "config/smoke.yaml", "--set", "wandb.mode=online"],
        "wandb.mode is 'online' but there is no W&B login",
    ),
    (["--benchmark", "testgen"], "command line: benchmark: testgen is now a command; run python main.py loadtest"),
    (
        ["--config", "config/loadtest.yaml"],
        "config/loadtest.yaml: loadtest.files_per_package is set but this is not a load test; "
        "use python main.py loadtest",
    ),
    (
        ["--set", "endpoint_timeout_s=3"],
        "command line: endpoint_timeout_s is now endpoint.timeout_s; in a file, write ",
    ),
    (
        ["score", "x", "--set", "sandbox=none"],
        "score: sandbox is now sandbox.mode; in a file, write sandbox: {mode: ...}",
    ),
    (
        ["score", "/dev/stdin"],
        "/dev/stdin: not a regular file; it is read more than once, so save the replies to a file",
    ),
    (["score", "no.jsonl"], "no.jsonl: cannot be read (No such file or directory)"),
    (["score", "README.md", "--set", "model_id=x"], "--set model_id: score does not use it; it uses "),
]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_what_the_user_must_change_is_one_line_and_exit_code_2(words: list[str], message: str) -> None:
    code, out, err = swarmeval(*words, env={"WANDB_API_KEY": "", "HOME": "/nonexistent", "WANDB_MODE": ""})
    assert (code, out) == (2, "")
    assert err.startswith(f"swarmeval: {message}")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_cuda_on_a_machine_without_a_gpu_names_the_way_out() -> None:
    code, _, err = swarmeval(env={"CUDA_VISIBLE_DEVICES": ""})
    assert code == 2
    assert err.count("\n") == 1
    assert "--config config/smoke.yaml" in err


@pytest.mark.slow
@pytest.mark.fault(
    "file size limit reached", "at the manifest and in the middle of the journal",
    "one line; exit code 2; without the limit, repeating the command finishes the run",
)  # fmt: skip
@pytest.mark.parametrize("limit_kib", [1, 60, 100])  # no manifest; part of the journal
def test_a_full_disk_is_one_line_and_the_run_resumes_when_there_is_room(tmp_path: Path, limit_kib: int) -> None:
    words = [*SMOKE, "--num_tasks", "50", "--output_dir", str(tmp_path)]
    command = f"ulimit -f {limit_kib}; exec {sys.executable} main.py {' '.join(words)}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert done.stderr.splitlines()[-1].endswith(
        "cannot be written (File too large); free disk space, then repeat the command"
    )
    assert swarmeval(*words)[0] == 0
    assert sum(len(agent_results(tmp_path, agent)) for agent in range(2)) == 100


@pytest.mark.slow
@pytest.mark.fault(
    "stdout or stderr closed, full or not read", "from the start", "the run is not affected; exit code 0"
)
@pytest.mark.parametrize("redirection", ["| head -c 0", "> /dev/full", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_screen_that_cannot_be_written_costs_the_run_nothing(tmp_path: Path, redirection: str) -> None:
    words = " ".join([sys.executable, "main.py", *SMOKE, "--num_tasks", "2", "--output_dir", str(tmp_path)])
    command = f"set -o pipefail; {words} {redirection}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert json.loads((tmp_path / "score.json").read_text())["evaluations"] == 4


@pytest.mark.slow
def test_a_finished_run_is_archived_by_the_next(tmp_path: Path) -> None:
    words = [*SMOKE, "--num_tasks", "2", "--output_dir", str(tmp_path)]
    assert swarmeval(*words)[0] == 0
    first = json.loads((tmp_path / "manifest.json").read_text())
    assert first["finished"]
    assert first["replies_repeat"].startswith("exactly")
    assert swarmeval(*words)[0] == 0
    archived = tmp_path / "archive" / first["run_id"]
    assert json.loads((archived / "score.json").read_text())["evaluations"] == 4
    assert len(agent_results(archived, 1)) == 2


@pytest.mark.slow
def test_fresh_archives_an_unfinished_run_whole_and_begins_anew(tmp_path: Path) -> None:
    words = [*SMOKE, "--num_agents", "10", "--num_tasks", "60", "--output_dir", str(tmp_path)]
    with start(*words) as process:
        journal = tmp_path / "journal.jsonl"
        while not journal.exists() or journal.stat().st_size < 20_000:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file() and path.name != ".lock"}
    code, _, err = swarmeval(*words, "--fresh")
    archived = tmp_path / "archive" / json.loads(before["manifest.json"])["run_id"]
    assert code == 0, err
    assert f"{tmp_path}: the run found there, unfinished, was moved to {archived}" in err
    kept = {path.name: path.read_bytes() for path in archived.iterdir()}
    assert kept.keys() == before.keys()
    assert {name for name in kept if kept[name] != before[name]} == {"manifest.json"}  # records the archiving
    assert sum(len(agent_results(tmp_path, agent)) for agent in range(10)) == 600
    assert "resuming" not in (tmp_path / "run.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_exits_130_leaves_no_process_and_resumes(tmp_path: Path, number: signal.Signals) -> None:
    words = [*SMOKE, "--num_agents", "10", "--num_tasks", "60", "--output_dir", str(tmp_path)]
    with start(*words) as process:
        journal = tmp_path / "journal.jsonl"
        while not journal.exists() or journal.stat().st_size < 20_000:
            time.sleep(0.005)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Repeat the command to resume." in out
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert json.loads((tmp_path / "score.json").read_text())["partial"]
    before = journal.read_bytes()
    assert swarmeval(*words)[0] == 0
    assert journal.read_bytes().startswith(before)
    assert sum(len(agent_results(tmp_path, agent)) for agent in range(10)) == 600


TIMED = {"queue_s", "ttft_s", "tpot_s", "latency_s", "judge_s", "finished_at", "device", "attempts"}


def untimed(folder: Path) -> dict[str, object]:
    """The contents of a run's result files, without timings and values that depend on them."""
    score = json.loads((folder / "score.json").read_text())
    timed = ("avg_latency_s", "avg_throughput_rps", "tokens_per_s", "computed_tokens_per_s", "generation_s", "run_id")
    for key in timed:
        del score[key]
    del score["budgets"]["seconds"]
    summaries = json.loads((folder / "agent_summary.json").read_text())
    for summary in summaries:
        del summary["latency"]
    with (folder / "metrics.csv").open() as file:
        metrics = [{key: row[key] for key in row.keys() - TIMED} for row in csv.DictReader(file)]
    evaluations = {path.name: path.read_text() for path in sorted(folder.glob("agent_*_evaluation.json"))}
    replies = {path.name: path.read_text() for path in sorted(folder.glob("agent_*_results.jsonl"))}
    return {"score": score, "summaries": summaries, "metrics": metrics, **evaluations, **replies}


@pytest.mark.slow
def test_a_run_killed_at_random_moments_resumes_to_the_undisturbed_files(tmp_path: Path) -> None:
    words = [*SMOKE, "--num_agents", "6", "--num_tasks", "60", "--set", "cpu_workers=2", "eval_workers=1"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert swarmeval(*words, "--output_dir", str(whole))[0] == 0
    journal = cut / "journal.jsonl"
    for size in sorted(random.sample(range(1, 300_000), 3)):
        with start(*words, "--output_dir", str(cut)) as process:
            while process.poll() is None and (not journal.exists() or journal.stat().st_size < size):
                time.sleep(0.002)
            family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.communicate()
        assert psutil.wait_procs(family, timeout=5)[1] == []
    kept = journal.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    assert swarmeval(*words, "--output_dir", str(cut))[0] == 0
    assert journal.read_bytes().startswith(kept)
    born = [line for line in journal.read_text().splitlines() if line.startswith('{"completion"')]
    assert len(born) == len({json.loads(line)["completion"]["job_id"] for line in born}) == 360
    assert untimed(cut) == untimed(whole)
    sessions = json.loads((cut / "manifest.json").read_text())["sessions"]
    *before, last = [session["reason"] for session in sessions]
    assert (set(before), last) == ({"killed"}, "finished")


@pytest.mark.slow
def test_ctrl_c_drains_a_score_too(tmp_path: Path) -> None:
    replies, folder = tmp_path / "r.jsonl", tmp_path / "out"
    slow = "    import time; time.sleep({})\n"  # different programs: equal ones share a verdict
    lines = [json.dumps({"task_id": "HumanEval/0", "completion": slow.format(1 + k / 1000)}) for k in range(40)]
    replies.write_text("\n".join(lines))
    words = ["score", str(replies), "--output_dir", str(folder), "--eval_workers", "1", "--set", "eval_timeout_scale=1"]
    journal = folder / "journal.jsonl"
    with start(*words) as process:
        while not journal.exists() or b'{"verdict"' not in journal.read_bytes():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert 0 < json.loads((folder / "score.json").read_text())["evaluations"] < 40


@pytest.mark.slow
@pytest.mark.fault("terminal closed (SIGHUP)", "under nohup", "the run is not affected; exit code 0")
def test_a_run_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    quick = [*SMOKE, "--num_tasks", "2", "--output_dir", str(tmp_path / "quick")]
    with subprocess.Popen(
        ["bash", "-c", 'trap "" HUP; exec "$0" "$@"', sys.executable, "main.py", *quick], cwd=ROOT
    ) as process:
        while not (tmp_path / "quick" / "run.log").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGHUP)
    assert process.returncode == 0
