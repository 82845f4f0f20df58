"""A run folder written by the real writers with known figures, without coordinator or model."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from swarmeval.records import Completion, Failure, Outcome, Status, Verdict, WorkerStatus
from swarmeval.runs.csv_trace import Cell, CsvTrace
from swarmeval.runs.journal import Entry, Journal, SessionStart
from swarmeval.watch import status as status_file

RUN_ID = "20261121-225112-a1b2c3"
HOST: dict[str, Cell] = {
    "cpu_pct": 43.2,
    "cpu_cores_pct": "10 99",
    "load1": 1.25,
    "ram_used_mb": 2048.0,
    "ram_total_mb": 24576.0,
    "swap_used_mb": 512.0,
    "swap_total_mb": 2048.0,
    "disk_free_mb": 77824.0,
    "disk_used_pct": 61.0,
    "disk_read_mb": 100.0,
    "disk_write_mb": 200.0,
    "coordinator_cpu_pct": 3.0,
    "coordinator_rss_mb": 44.0,
    "coordinator_threads": 7,
    "coordinator_ctx_voluntary": 100,
    "coordinator_ctx_involuntary": 7,
    "workers_cpu_pct": 150.0,
    "workers_rss_mb": 1240.0,
    "python_processes": 9,
    "jobs_per_s": 4.6,
    "tokens_per_s": 812.0,
}
LATER: dict[str, Cell] = {
    "disk_read_mb": 103.0,
    "disk_write_mb": 210.0,
    "coordinator_ctx_voluntary": 112,
}  # two seconds later
GPU: dict[str, Cell] = {
    "utilization_pct": 97.0,
    "memory_used_mb": 40123.5,
    "memory_total_mb": 81559.0,
    "power_w": 312.0,
}


def write_status(folder: Path, pid: int | None = None, phase: str = "generating", message: str = "") -> None:
    status = Status(
        run_id=RUN_ID,
        pid=os.getpid() if pid is None else pid,
        phase=phase,
        updated_at=time.time(),
        total_jobs=8200,
        done_jobs=412,
        failures=1,
        judged=400,
        passed=25,
        elapsed_s=90.0,
        jobs_per_s=4.6,
        tokens_per_s=812.0,
        eta_s=1693.0,
        pass_at_1=0.0625,
        outcomes={"PASSED": 25, "WRONG_ANSWER": 375},
        workers=(WorkerStatus("cuda:0", "ready", 4242, 16, 8, 200), WorkerStatus("cuda:1", "restarting", restarts=2)),
        message=message,
    )
    status_file.write(folder, status)


def write_traces(folder: Path, gpu_name: str = "H100") -> None:
    resources = CsvTrace(folder / "resource_trace.csv", ("time", "elapsed_s", *HOST))
    gpus = CsvTrace(
        folder / "gpu_trace.csv", ("time", "elapsed_s", "index", "uuid", "name", *GPU, "temperature_c", "throttle")
    )
    for second, figures in ((1.0, HOST), (3.0, {**HOST, **LATER})):
        resources.append({"time": f"t{second}", "elapsed_s": second, **figures})
        for index, celsius in enumerate((64.0, 88.0)):
            gpu: dict[str, Cell] = {
                "index": index,
                "uuid": f"GPU-{index}",
                "name": gpu_name,
                "temperature_c": celsius,
                **GPU,
            }
            gpus.append({"time": f"t{second}", "elapsed_s": second, **gpu, "throttle": "thermal" if index else ""})
    resources.close()
    gpus.close()


def write_manifest(folder: Path, agents: int = 3, tasks: int = 4, pid: int | None = None) -> None:
    session = {"pid": os.getpid() if pid is None else pid, "started_at": time.time(), "ended_at": None, "reason": None}
    manifest = {
        "run_id": RUN_ID,
        "fingerprint": "f",
        "finished": False,
        "sessions": [session],
        "config": {"model_id": "embedded", "benchmark": "humaneval", "num_agents": agents, "agents": None},
        "prompts": {"prompt_mode": "chat"},
        "data": {"tasks": tasks},
        "hardware": {"usable_cores": 2},
        "agents": [{"id": number, "name": None} for number in range(agents)],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def completion(job_id: str, text: str = "```python\nreturn 1\n```", device: str = "cuda:0") -> Entry:
    return Entry(
        completion=Completion(job_id, text, "reply", device, 3, 1, 120, 90, 0.1, 0.5, 2.0, "stop", time.time(), 1.0)
    )


def verdict(job_id: str, outcome: Outcome, candidate: str = "    return 1\n", detail: str = "") -> Entry:
    return Entry(verdict=Verdict(job_id, outcome, candidate, detail, 0.02, "fence"))


def write_journal(folder: Path, *more: Entry) -> None:
    """Write answers of agents 0 to 2 to tasks 0 to 2: passed, wrong, waiting, failed, and one passed after a repair."""
    with Journal(folder) as journal:
        for entry in (
            Entry(session=SessionStart(time.time())),
            completion("0/HumanEval/0/0/0"),
            verdict("0/HumanEval/0/0/0", Outcome.PASSED),
            completion("1/HumanEval/0/0/0", "x = 41"),
            verdict("1/HumanEval/0/0/0", Outcome.WRONG_ANSWER, "x = 41", "AssertionError: f(1) gives 41"),
            completion("2/HumanEval/0/0/0"),
            Entry(failure=Failure("0/HumanEval/1/0/0", "three deaths", 3)),
            completion("1/HumanEval/1/0/0"),
            verdict("1/HumanEval/1/0/0", Outcome.RAISED),
            completion("1/HumanEval/1/0/1", "second try"),
            verdict("1/HumanEval/1/0/1", Outcome.PASSED),
            *more,
        ):
            journal.append(entry)


def write_run(folder: Path, pid: int | None = None, phase: str = "generating", message: str = "") -> None:
    """Write all files of the run."""
    write_manifest(folder, pid=pid)
    write_status(folder, pid, phase, message)
    write_traces(folder)
    write_journal(folder)
    (folder / "run.log").write_text("2026-11-21 22:51:12,000 WARNING swarmeval: a line of the log\n")


def ended_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    return ended.pid


# The texts that the panels show for this run, with single spaces between words.
NUMBERS = (
    f"{RUN_ID} generating PID {os.getpid()}",
    "412/8200 jobs (5.0%) eta 00:28:13",
    "4.6 jobs/s",
    "812 tokens/s",
    "elapsed 00:01:30",
    "latency p50 2.00 s p95 2.00 s p99 2.00 s",
    "TTFT p50 500 ms p95 500 ms",
    "pass@1 6.2 % (",
    "25 of 400 judged passed 1 failure",
    "P PASSED 25 w WRONG_ANSWER 375",
    "CPU 43 %",
    "load 1.25",
    "2.0/24.0 GB swap 0.5/2.0 GB",
    "76.0 GB free read 1.5 MB/s write 5.0 MB/s",
    f"coordinator PID {os.getpid()} 3 % 44 MB 7 threads Python processes 9",
    "switches 112 voluntary (6/s), 7 involuntary (0/s)",
    "workers 150 % 1,240 MB",
    "cuda:0 ready 97 % ",
    "39.2/79.6",
    "64° ok 312 W 8",
    "cuda:1 restarting",
    "88° hot",
    "WARNING swarmeval: a line of the log",
)

HOSTILE = "[red]a[/red] \x1b[2Jb [/] \x9b31m"
HARMLESS = "[red]a[/red] �[2Jb [/] �31m"  # as every screen shows it
