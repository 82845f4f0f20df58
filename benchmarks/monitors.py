"""Overhead of the resource monitor: one run with alternating phases, watched and unwatched.

    python benchmarks/monitors.py [--rounds N] [--phase S] [--interval S] [--workers N] [--threads N] [--json FILE]

Scripted workers answer at a steady pace without a model. Programs are judged in the real sandbox, and journal and
status are written. The monitor also watches processes with many threads, as stand-ins for workers with models. Every
round has one phase with the monitor and one without, in alternating order. The monitor's own time is that of its
thread. The aim is less than 1 % of one core at one sample per second.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agent_manager import Coordinator
from benchmarks.plain_context import PlainContext
from human_eval_runner import Judge, load_tasks
from resource_monitor import ResourceMonitor
from swarmeval.monitor.processes import context_switches
from swarmeval.monitor.tracking.tracker import NoTracker
from swarmeval.records import Status
from swarmeval.runs.journal import Journal
from swarmeval.runs.ledger import Ledger
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.session.watchers import CoordinatorReadings
from swarmeval.settings.run_config import RunConfig
from swarmeval.watch import status as status_file
from swarmeval.workers.devices import choose_devices
from swarmeval.workers.local import LocalFleet
from swarmeval.workers.replica_spec import ReplicaSpec, Script

SETTLE_S = 5.0  # before the first phase, to exclude start-up
THREADED = """
import sys, threading
for _ in range(int(sys.argv[1]) - 1):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print(flush=True)
sys.stdin.read()
"""


class StatusOnly(PlainContext):
    """A context that writes status.json like a run."""

    def __init__(self, plan: Plan, config: RunConfig, folder: Path) -> None:
        super().__init__(plan, config)
        self._folder = folder

    def publish(self, status: Status) -> None:
        status_file.write(self._folder, status)


@dataclass(frozen=True)
class Phase:
    """Measurements of one phase of the run."""

    watched: bool
    seconds: float
    monitor_cpu_pct: float | None  # of one core
    coordinator_cpu_pct: float  # of one core, all threads of the process including the monitor's
    jobs_per_s: float
    switches_per_s: float
    loop_lag_ms: float


class MonitoredRun:
    """A run that continues until the last phase, and a thread that alternates the phases."""

    def __init__(self, options: argparse.Namespace, folder: Path, threaded: Sequence[int]) -> None:
        self._options = options
        self._folder = folder
        self._threaded = threaded
        self.phases: list[Phase] = []
        self._readings = CoordinatorReadings()
        config = RunConfig(engine="scripted", device="cpu", cpu_workers=options.workers, num_agents=100_000)
        self._plan = Plan(make_agents(config), load_tasks())
        self._config = config
        self._ledger = Ledger(self._plan)
        script = Script(rows=8, steps=4, step_s=0.05)
        spec = ReplicaSpec("scripted", "scripted", "cpu", "auto", "auto", "off", "off", True, None, 512, script=script)
        self._fleet = LocalFleet(
            choose_devices(config, (), {}, 1),
            [spec] * options.workers,
            config.workers.timeout_s,
            config.workers.load_timeout_s,
        )

    def run(self) -> None:
        asyncio.run(self._session())

    async def _session(self) -> None:
        config = self._config
        yields = config.computes_on_cpu()
        judge = Judge(self._plan.tasks, config.eval_workers, config.eval_timeout, config.eval_memory_mb, yields=yields)
        with Journal(self._folder) as journal:
            async with judge, self._readings.lag.sampled():
                self._readings.judge = judge
                context = StatusOnly(self._plan, config, self._folder)
                coordinator = Coordinator("benchmark", config, self._ledger, journal, judge.judge, context)
                running = asyncio.create_task(coordinator.run(self._fleet))
                await asyncio.to_thread(self._by_turns)
                coordinator.drain()
                await running

    def _by_turns(self) -> None:
        time.sleep(SETTLE_S)
        for number in range(self._options.rounds):
            for watched in (True, False) if number % 2 else (False, True):
                self.phases.append(self._phase(watched))
                print(".", end="", file=sys.stderr, flush=True)

    def _phase(self, watched: bool) -> Phase:
        began, cpu_s, jobs, switches = (
            time.monotonic(),
            time.process_time(),
            self._ledger.answered.count,
            context_switches(),
        )
        self._readings.lag.take()
        monitor = ResourceMonitor(
            self._folder, self._options.interval, self._pids, NoTracker(), lambda: {}, self._readings.judge_pids
        )
        with monitor if watched else contextlib.nullcontext():
            threading.Event().wait(self._options.phase)
        seconds = time.monotonic() - began
        return Phase(
            watched=watched,
            seconds=seconds,
            monitor_cpu_pct=100 * monitor.cpu_s / seconds if watched else None,
            coordinator_cpu_pct=100 * (time.process_time() - cpu_s) / seconds,
            jobs_per_s=(self._ledger.answered.count - jobs) / seconds,
            switches_per_s=(sum(context_switches()) - sum(switches)) / seconds,
            loop_lag_ms=self._readings.lag.take() or 0.0,
        )

    def _pids(self) -> Mapping[str, int]:
        workers = {worker.name: worker.pid for worker in self._fleet.workers if worker.pid is not None}
        return {**workers, **{f"threaded:{pid}": pid for pid in self._threaded}}


@contextlib.contextmanager
def threaded(count: int, threads: int) -> Iterator[list[int]]:
    """Start `count` sleeping processes with `threads` threads each; yield their PIDs."""
    command = [sys.executable, "-S", "-c", THREADED, str(threads)]
    with contextlib.ExitStack() as stack:
        started: list[Any] = []
        for _ in range(count):
            process: Any = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            started.append(process)
            process.stdout.readline()  # all its threads have started
        yield [process.pid for process in started]
        for process in started:
            process.stdin.close()


def table(phases: Sequence[Phase]) -> Iterator[str]:
    """Medians, with minimum and maximum in brackets."""
    yield f"{'':34}{'watched':>24}{'not watched':>24}"
    for key, name in (
        ("monitor_cpu_pct", "monitor, % of one core"),
        ("coordinator_cpu_pct", "coordinator process, % of one core"),
        ("jobs_per_s", "jobs/s"),
        ("switches_per_s", "its context switches/s"),
        ("loop_lag_ms", "maximum event loop lag, ms"),
    ):
        cells = []
        for watched in (True, False):
            values = [
                value for phase in phases if phase.watched is watched and (value := getattr(phase, key)) is not None
            ]
            cells.append(f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})" if values else "-")
        yield f"{name:34}{cells[0]:>24}{cells[1]:>24}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="rounds of one watched and one unwatched phase")
    parser.add_argument("--phase", type=float, default=15.0, help="seconds per phase (default: %(default)s)")
    parser.add_argument("--interval", type=float, default=1.0, help="monitor.interval_s (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=32, help="threads of each additional watched process")
    parser.add_argument("--json", type=Path, help="write every phase here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, threaded(options.workers, options.threads) as pids:
        monitored = MonitoredRun(options, Path(folder), pids)
        monitored.run()
        samples = (Path(folder) / "resource_trace.csv").read_text().count("\n") - 1
    print(file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps([vars(phase) for phase in monitored.phases], indent=2) + "\n")
    print(f"{options.rounds} rounds of {options.phase:g} s with and without, {samples} samples; "
          f"{options.workers} workers, as many processes of {options.threads} threads, 4 judges")  # fmt: skip
    for line in table(monitored.phases):
        print(line)


if __name__ == "__main__":
    main()
