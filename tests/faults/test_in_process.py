"""A coordinator in the test process: random faults, a torn journal, a clock that jumps, many jobs."""

import asyncio
import itertools
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_manager import Coordinator
from swarmeval.errors import DeviceError, RunLocked
from swarmeval.records import Attempt, Completion, Outcome, Status, Verdict
from swarmeval.report import run_report
from swarmeval.report.timeline import timeline
from swarmeval.requests import ReplicaInfo, Request
from swarmeval.runs.answer_index import AnswerIndex
from swarmeval.runs.folder import LOCK, locked
from swarmeval.runs.journal import NAME as JOURNAL
from swarmeval.runs.plan import Plan
from swarmeval.runs.prompts import make_request
from swarmeval.scheduling.context import RunContext
from swarmeval.session.run_record import opened
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.devices import DeviceSpec
from swarmeval.workers.local import LocalFleet
from swarmeval.workers.protocol import Fleet
from swarmeval.workers.replica_spec import ReplicaSpec, Script, ScriptedFault
from tests.support.coordinator_bench import Bench
from tests.support.echo_fleet import EchoFleet, EchoWorker
from tests.support.run_folders import plan_of

YEAR_S = 365 * 86_400.0
SEED = 23


def local_fleet(scripts: list[Script]) -> LocalFleet:
    """A fleet with one worker process per script."""
    devices = [DeviceSpec(f"cpu:{number}", "cpu") for number in range(len(scripts))]
    specs = [
        ReplicaSpec("scripted", "scripted", device.name, "auto", "auto", "off", "off", True, None, 8, script=script)
        for device, script in zip(devices, scripts, strict=True)
    ]
    return LocalFleet(devices, specs, silence_s=2.0, load_s=30.0)


KINDS = ["kill", "exit", "raise", "garbage", "refuse", "hang", "load_exit", "load_raise"]
faults = st.builds(
    ScriptedFault, kind=st.sampled_from(KINDS), after=st.integers(0, 8), device=st.just(""), lives=st.integers(1, 3)
)  # fmt: skip
scripts = st.builds(
    Script, rows=st.integers(1, 3), steps=st.integers(1, 2), faults=st.lists(faults, max_size=3).map(tuple)
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.fault(
    "random schedules of all worker faults", "on one to three scripted workers",
    "each job has one completion or failure; if no device is left, the run can be resumed",
)  # fmt: skip
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(schedule=st.lists(scripts, min_size=1, max_size=3), agents=st.integers(1, 4), size=st.integers(1, 5))
def test_whatever_happens_to_workers_each_job_is_answered_and_judged_once(
    schedule: list[Script], agents: int, size: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), agents, tasks=6, batch_size=size)
        try:
            assert bench.run(local_fleet(schedule))
        except* DeviceError:  # all devices were retired
            assert bench.run(local_fleet([Script()]))
        assert set(bench.answers()) == bench.planned()
        completed = {job_id for job_id, answer in bench.answers().items() if isinstance(answer, Completion)}
        judged = [entry.verdict.job_id for entry in bench.journaled() if entry.verdict is not None]
        assert sorted(judged) == sorted(completed)
    assert [child for child in psutil.Process().children(recursive=True) if child.status() != "zombie"] == []


@pytest.mark.slow
@pytest.mark.fault(
    "journal cut", "at every byte of every record", "complete records are kept; only lost work is repeated"
)
def test_a_journal_cut_at_every_byte_is_resumed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, agents=2, tasks=2)
    refused = {"1/T/1/0/0": 3}  # adds a failure to the records
    assert bench.run(EchoFleet([EchoWorker("cpu:0", refused=refused)]))
    path = tmp_path / JOURNAL
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        kept = whole[: whole.rfind(b"\n", 0, length) + 1]
        assert bench.run(EchoFleet([EchoWorker("cpu:0", refused=refused)])), length
        assert path.read_bytes().startswith(kept), length
        assert set(bench.answers()) == bench.planned(), length
        judged = [entry.verdict.job_id for entry in bench.journaled() if entry.verdict is not None]
        assert len(judged) == len(set(judged)) == 3, length


JUMPS = {
    "forward by a year": lambda n: YEAR_S * (n >= 5),
    "back by ten years": lambda n: -10 * YEAR_S * (n >= 5),
    "to and fro": lambda n: YEAR_S * (n // 6 % 2),
    "to zero, as without a battery": lambda n: -1_800_000_000.0 * (n >= 5) + n,
}


class ClockContext(RunContext):
    """A run context with chat requests, a given clock, and a list of published statuses."""

    def __init__(self, plan: Plan, config: RunConfig, clock: Callable[[], float], published: list[Status]) -> None:
        self._plan = plan
        self._config = config
        self._clock = clock
        self._published = published

    def request(self, k: int, repairs: Attempt | None) -> Request:
        return make_request(self._plan, k, "chat", self._config, repairs)

    def replica_ready(self, device: str, info: ReplicaInfo) -> None:
        pass

    def publish(self, status: Status) -> None:
        self._published.append(status)

    def now(self) -> float:
        return self._clock()


def work(
    config: RunConfig, plan: Plan, clock: Callable[[], float], fleet: Fleet, stop_after: int | None
) -> list[Status]:
    """Run one session in the config's folder and return the statuses that it published."""
    published: list[Status] = []
    seen = itertools.count(1)

    async def judge(completion: Completion, _: bool) -> Verdict:
        if next(seen) == stop_after:
            coordinator.drain()
        return Verdict(completion.job_id, Outcome.WRONG_ANSWER, "")

    with opened(config, plan, config.measured(), fresh=False, clock=clock) as record:
        record.begin()
        context = ClockContext(plan, config, clock, published)
        coordinator = Coordinator(record.run_id, config, record.ledger, record.journal, judge, context)
        ended = asyncio.run(coordinator.run(fleet))
        assert ended is (stop_after is None)
        published.append(coordinator.status())
        record.note(data={"tasks": len(plan.tasks)})
        record.write_results({"model_id": "m", "benchmark": "humaneval"})
        record.end("finished" if ended else "drained")
        assert record.ledger.generation_s >= 0
    return published


@pytest.mark.fault(
    "clock jumps",
    "within and between sessions (injected clock)",
    "no negative times; the run resumes; results and report are written",
)
@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
def test_a_clock_that_jumps_changes_records_and_nothing_else(tmp_path: Path, jump: Callable[[int], float]) -> None:
    config, plan = plan_of(4, 3, output_dir=str(tmp_path), eval_workers=1, batch_size=2, workers={"max_in_flight": 1})
    asked = itertools.count()

    def clock() -> float:
        n = next(asked)
        return 1_800_000_000.0 + n * 0.01 + jump(n)

    first = work(config, plan, clock, EchoFleet([EchoWorker("cpu:0")]), stop_after=4)
    second = work(config, plan, clock, EchoFleet([EchoWorker("cpu:0")]), stop_after=None)
    assert first[-1].run_id == second[-1].run_id  # resumed
    assert second[-1].done_jobs == plan.total == 12
    for status in (*first, *second):
        assert status.elapsed_s >= 0
        assert (status.eta_s or 0) >= 0
        assert (status.jobs_per_s or 0) >= 0
    drawn = timeline(tmp_path, AnswerIndex(tmp_path, len(plan.tasks)).timings)
    assert 0 <= drawn.seconds < 60
    assert all(0 <= at <= drawn.seconds for series in drawn.series for at, _ in series.points)
    assert run_report.write(tmp_path, plan.tasks).exists()


@pytest.mark.fault(
    "clock jumps",
    "while a lock exists: its file has a wrong date",
    "a held lock stays held; a released lock is free",
)
@pytest.mark.parametrize("seconds", [0.0, 4e9])
def test_whether_a_lock_is_stale_does_not_depend_on_time(tmp_path: Path, seconds: float) -> None:
    with locked(tmp_path):
        os.utime(tmp_path / LOCK, (seconds, seconds))
        with pytest.raises(RunLocked), locked(tmp_path):
            pass
    os.utime(tmp_path / LOCK, (seconds, seconds))
    with locked(tmp_path):
        pass


@pytest.mark.slow
@pytest.mark.fault(
    "workers die a hundred times",
    "during 100,000 jobs, in one process, without running programs",
    "each job is recorded once",
)
def test_a_hundred_thousand_jobs_survive_a_hundred_deaths(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    bench = Bench(tmp_path, agents=1000, tasks=100, batch_size=8)
    workers = [EchoWorker(f"cpu:{n}", deaths=sorted(chance.sample(range(1, 30_000), 34))) for n in range(3)]
    assert bench.run(EchoFleet(workers))
    assert sum(len(worker.victims) for worker in workers) >= 90
    assert (bench.ledger.answered.count, bench.ledger.judged.count) == (
        100_000,
        bench.ledger.completions,
    )
    assert bench.ledger.failures <= 10
    assert len(bench.answers()) == 100_000
