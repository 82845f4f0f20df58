"""Overhead of the coordinator, measured with scripted workers and without running programs.

    python benchmarks/coordinator.py [--jobs N ...] [--workers N] [--repeat N] [--json FILE]

Each figure comes from a fresh process with real worker processes, sockets, journal, ledger and result files. Only the
model and the judge are replaced, which leaves the cost of dispatch. Peak memory is that of the coordinator alone.
"""

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TASKS = 164


def measure(jobs: int, workers: int, folder: Path) -> dict[str, float]:
    """Run `jobs` jobs in this process and return the figures."""
    from agent_manager import Coordinator
    from benchmarks.plain_context import PlainContext
    from human_eval_runner import load_tasks
    from swarmeval.monitor.processes import context_switches
    from swarmeval.records import Completion, Outcome, Verdict
    from swarmeval.runs import result_files
    from swarmeval.runs.journal import Journal
    from swarmeval.runs.ledger import Ledger
    from swarmeval.runs.plan import Plan, make_agents
    from swarmeval.settings.run_config import RunConfig
    from swarmeval.workers.devices import choose_devices
    from swarmeval.workers.local import LocalFleet
    from swarmeval.workers.replica_spec import ReplicaSpec, Script

    agents = max(1, jobs // TASKS)
    config = RunConfig(engine="scripted", device="cpu", cpu_workers=workers, num_agents=agents)
    plan = Plan(make_agents(config), load_tasks(TASKS))
    devices = choose_devices(config, (), {}, 1)
    spec = ReplicaSpec(
        "scripted",
        "scripted",
        "cpu",
        "auto",
        "auto",
        "off",
        "off",
        True,
        None,
        config.max_new_tokens,
        script=Script(rows=64),
    )
    ledger = Ledger(plan)

    async def judge(completion: Completion, _: bool) -> Verdict:
        return Verdict(completion.job_id, Outcome.WRONG_ANSWER, "")

    with Journal(folder) as journal:
        coordinator = Coordinator("benchmark", config, ledger, journal, judge, PlainContext(plan, config))
        fleet = LocalFleet(devices, [spec] * workers, config.workers.timeout_s, config.workers.load_timeout_s)
        switches, cpu_s, began = context_switches(), time.process_time(), time.perf_counter()
        asyncio.run(coordinator.run(fleet))
        whole_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
        voluntary, involuntary = (after - before for after, before in zip(context_switches(), switches, strict=True))
        began = time.perf_counter()
        result_files.write(folder, journal.path, ledger, {})
        return {
            "jobs": plan.total,
            "workers": workers,
            "jobs_per_s": plan.total / ledger.generation_s,
            "generation_s": ledger.generation_s,
            "with_start_s": whole_s,
            "cpu_s": cpu_s,
            "voluntary_switches": voluntary,
            "voluntary_switches_per_s": voluntary / whole_s,
            "involuntary_switches": involuntary,
            "involuntary_switches_per_s": involuntary / whole_s,
            "results_s": time.perf_counter() - began,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "journal_bytes_per_job": journal.length / plan.total,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[8200, 100040], help="sizes (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are printed")
    parser.add_argument("--json", type=Path, help="write every run here")
    parser.add_argument(
        "--one", type=Path, help=argparse.SUPPRESS
    )  # internal: measure once in this process, using this folder
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.jobs[0], options.workers, options.one)))
        return
    runs = []
    for _ in range(options.repeat):
        for jobs in options.jobs:
            with tempfile.TemporaryDirectory() as folder:
                arguments = ["--one", folder, "--jobs", str(jobs), "--workers", str(options.workers)]
                done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True)
                runs.append(json.loads(done.stdout))
    if options.json:
        options.json.write_text(json.dumps(runs, indent=2) + "\n")
    for jobs in sorted({run["jobs"] for run in runs}):
        print(f"\n{jobs:,} jobs, median of {options.repeat}")
        for key in runs[0]:
            print(f"  {key:28} {statistics.median(run[key] for run in runs if run['jobs'] == jobs):12,.1f}")


if __name__ == "__main__":
    main()
