"""One session of a scripted run with cost measurements, composed like swarmeval/commands/run.py. Used by scale.py.

Everything is real except the model and, for most replies, the judge (see SampledJudge).
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from agent_manager import Coordinator
from benchmarks.plain_context import PlainContext
from human_eval_runner import Judge
from swarmeval.monitor.tracking.tracker import NoTracker
from swarmeval.records import Attempt, Completion, Status, Verdict
from swarmeval.requests import ReplicaInfo, Reply, Request
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.scheduling.judge_queue import JudgeCall
from swarmeval.session.run_record import OpenRun, opened
from swarmeval.session.session import make_report
from swarmeval.session.watchers import SessionWatchers
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks import catalog
from swarmeval.watch import status as status_file
from swarmeval.watch.histogram import LogHistogram
from swarmeval.workers.devices import choose_devices
from swarmeval.workers.local import LocalFleet
from swarmeval.workers.replica_spec import ReplicaSpec, Script
from swarmeval.workers.scripted import ScriptedReplica

ROOT = Path(__file__).resolve().parent.parent
LOOK_EVERY_S = 0.01
SETTLE_S = 5.0  # after the last worker is ready, to exclude start-up
KINDS = 7  # different replies of a scripted replica to one prompt

Facts = dict[str, float | None]


class Lateness:
    """Event loop lag, sampled every LOOK_EVERY_S; moments that a blocked loop missed are included."""

    def __init__(self) -> None:
        self._ms = LogHistogram()
        self._most_ms = 0.0

    @contextlib.asynccontextmanager
    async def sampled(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._sample())
        try:
            yield
        finally:
            task.cancel()

    def take(self, phase: str) -> Facts:
        """Lag percentiles since the last call, in milliseconds."""
        seen, most, self._ms, self._most_ms = self._ms, self._most_ms, LogHistogram(), 0.0
        return {
            f"{phase}_late_p50_ms": seen.percentile(0.5),
            f"{phase}_late_p99_ms": seen.percentile(0.99),
            f"{phase}_late_max_ms": most,
        }

    async def _sample(self) -> None:
        due = time.monotonic() + LOOK_EVERY_S
        while True:
            await asyncio.sleep(due - time.monotonic())
            now = time.monotonic()
            while due <= now:
                self._ms.add(1000 * (now - due))
                self._most_ms = max(self._most_ms, 1000 * (now - due))
                due += LOOK_EVERY_S


class SampledJudge:
    """Judges one reply in `interval` in the sandbox; for the others it repeats the earlier verdict on the same text."""

    def __init__(self, judge: JudgeCall, interval: int, folder: Path) -> None:
        """Verdicts are shared with other sessions in a file next to `folder`."""
        self._judge = judge
        self._interval = interval
        self._path = folder.parent / "known.json"
        self._known: dict[str, Verdict] = {}
        self.calls = self.judged = 0

    async def judge(self, completion: Completion, hurried: bool = False) -> Verdict:
        self.calls += 1
        known = self._known.get(completion.reply)
        if known is not None and self.calls % self._interval:
            return replace(known, job_id=completion.job_id)
        self.judged += 1
        verdict = await self._judge(completion, hurried)
        if not (hurried and verdict.ran_out):
            self._known[completion.reply] = verdict
        return verdict

    async def learn(self, plan: Plan, config: RunConfig) -> None:
        """Load the shared verdicts; if there are none, judge every possible reply of the scripted replicas."""
        if self._path.exists():
            self._known = msgspec.json.decode(self._path.read_bytes(), type=dict[str, Verdict])
            return
        replica = ScriptedReplica(Script(rows=KINDS * len(plan.tasks)), "cpu", 0)
        for number, k in enumerate(range(0, plan.total, plan.total // len(plan.tasks))):
            request = make_request(plan, k, "chat", config)
            for seed in range(KINDS):  # with the tasks' names: a job id must be known to the judge only
                job_id = f"{seed}/{plan.tasks[number].task_id}/0/0"
                replica.submit(Request(job_id, seed, request.sampling, request.messages))
        replies = [answer for answer in replica.step() if isinstance(answer, Reply)]
        await asyncio.gather(*(self.judge(Completion(reply.job_id, reply.text)) for reply in replies))
        self._path.write_bytes(msgspec.json.encode(self._known))
        self.calls = self.judged = 0


class RecordingContext(PlainContext):
    """A context with watchers and a status file, which notes when things happened."""

    def __init__(self, plan: Plan, config: RunConfig, folder: Path, watching: SessionWatchers, workers: int) -> None:
        super().__init__(plan, config)
        self._folder = folder
        self._watching = watching
        self._loading = workers
        self.loaded = asyncio.Event()  # all workers are ready
        self.requested_at = 0.0  # when the first job was given to a worker
        self.ready_at = 0.0  # when the first worker was ready: the ledger counts from then on

    def request(self, k: int, repairs: Attempt | None) -> Request:
        self.requested_at = self.requested_at or time.monotonic()
        return super().request(k, repairs)

    def replica_ready(self, device: str, info: ReplicaInfo) -> None:
        self._watching.ready(device, info)
        self.ready_at = self.ready_at or time.monotonic()
        self._loading -= 1
        if not self._loading:
            self.loaded.set()

    def publish(self, status: Status) -> None:
        self._watching.publish(status)
        status_file.write(self._folder, status)


class ScriptedRun:
    """One session of a scripted run, composed like swarmeval/commands/run.py, and its costs."""

    def __init__(self, config: RunConfig, scripts: Sequence[Script], judge_every: int, spawned_at: float) -> None:
        """`scripts` has one script per worker. `spawned_at` is this process's start, by time.monotonic()."""
        self._config = config
        self._plan = Plan(make_agents(config), catalog.chosen(config).tasks)
        self._devices = choose_devices(config, (), {}, 1)
        specs = [
            ReplicaSpec("scripted", "scripted", "cpu", "auto", "auto", "off", "off", True, None, 512, script=script)
            for script in scripts
        ]
        self._fleet = LocalFleet(self._devices, specs, config.workers.timeout_s, config.workers.load_timeout_s)
        self._judge_every = judge_every
        self._spawned_at = spawned_at
        self._late = Lateness()
        self.facts: Facts = {"workers": len(scripts), "jobs": self._plan.total}

    def run(self, stop_after_s: float | None = None, end: bool = False) -> Facts:
        """Run the session to its end, or for `stop_after_s` after all workers are ready. `end`: write every file."""
        self.facts["import_s"], began = time.monotonic() - self._spawned_at, time.monotonic()
        with opened(self._config, self._plan, self._config.measured(), fresh=False) as record:
            self.facts |= {"open_s": time.monotonic() - began, "open_peak_mb": peak_mb(restart=True)}
            self.facts |= {"found_jobs": record.ledger.answered.count, "found_mb": record.journal.length / 1e6}
            record.begin()
            watching = SessionWatchers(self._config, record, self._fleet, self._devices, NoTracker())
            with watching:
                asyncio.run(self._session(record, watching, stop_after_s))
            if end:
                self._end(record, watching)
        return self.facts

    async def _session(self, record: OpenRun, watching: SessionWatchers, stop_after_s: float | None) -> None:
        config, ledger, journal = self._config, record.ledger, record.journal
        yields = config.computes_on_cpu()
        judge = Judge(self._plan.tasks, config.eval_workers, config.eval_timeout, config.eval_memory_mb, yields=yields)
        async with judge, self._late.sampled(), watching.readings.lag.sampled():
            watching.readings.judge = judge
            judge.scale_timeout(1.0)  # skips the calibration, which takes a second or, on a busy machine, many
            sampled = SampledJudge(partial(judge.judge, again=True), self._judge_every, record.folder)
            await sampled.learn(self._plan, config)
            self._late.take("")
            if stop_after_s:  # baseline: lag of an idle loop on this machine
                await asyncio.sleep(min(SETTLE_S, stop_after_s))
                self.facts |= self._late.take("idle")
            self.facts["ready_s"] = time.monotonic() - self._spawned_at
            peak_mb(restart=True)
            answered, length = ledger.answered.count, journal.length

            context = RecordingContext(self._plan, config, record.folder, watching, len(self._devices))
            coordinator = Coordinator(record.run_id, config, ledger, journal, sampled.judge, context)
            began, cpu_s = time.monotonic(), time.process_time()
            async with asyncio.TaskGroup() as group:
                if stop_after_s is not None:
                    group.create_task(self._stopped(coordinator, context, stop_after_s))
                await coordinator.run(watching.fleet)
            ended, jobs = time.monotonic(), ledger.answered.count - answered
            took_s = ended - began
            self.facts |= {
                "first_job_s": context.requested_at - self._spawned_at,
                "load": os.getloadavg()[0],
                "new_jobs": jobs,
                "jobs_per_s": jobs / ledger.session_s,
                "session_s": took_s,
                "after_last_answer_s": ended - (context.ready_at + ledger.session_s),  # until the judge has caught up
                "cpu_s": time.process_time() - cpu_s,
                "judged_in_sandbox": sampled.judged,
                "bytes_per_job": (journal.length - length) / jobs if jobs else None,
                "run_peak_mb": peak_mb(restart=True),
                **self._late.take("run" if stop_after_s is None else "end"),
            }

    async def _stopped(self, coordinator: Coordinator, context: "RecordingContext", after_s: float) -> None:
        """Stop the run some time after all workers are ready; the lag in between counts as phase "run"."""
        await context.loaded.wait()
        await asyncio.sleep(min(SETTLE_S, after_s))
        self.facts |= self._late.take("start")
        if after_s:
            self.facts |= await control(after_s)
        self.facts |= self._late.take("run")
        coordinator.drain()

    def _end(self, record: OpenRun, watching: SessionWatchers) -> None:
        """Write results and report after the session, in the order of swarmeval/session/session.py."""
        began = time.monotonic()
        record.write_results(
            {"model_id": "scripted", "benchmark": self._config.benchmark, **watching.facts(record.ledger)}
        )
        self.facts |= {"results_s": time.monotonic() - began, "results_peak_mb": peak_mb(restart=True)}
        began = time.monotonic()
        make_report(record)
        self.facts |= {"report_s": time.monotonic() - began, "report_peak_mb": peak_mb()}
        self.facts["files_mb"] = sum(path.stat().st_size for path in record.folder.rglob("*") if path.is_file()) / 1e6


async def control(seconds: float) -> Facts:
    """Measure the lag of an idle event loop in another process meanwhile: the effect of the busy machine alone."""
    command = [sys.executable, "-m", "benchmarks.scripted_run", str(seconds)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    facts: Facts = json.loads(output)
    return facts


async def idle(seconds: float) -> Facts:
    late = Lateness()
    async with late.sampled():
        await asyncio.sleep(seconds)
        return late.take("control")


def peak_mb(restart: bool = False) -> float:
    """Peak memory of this process since the last call with `restart`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    if restart:
        Path("/proc/self/clear_refs").write_text("5")
    return kib / 1024


if __name__ == "__main__":  # the process of control()
    print(json.dumps(asyncio.run(idle(float(sys.argv[1])))))
