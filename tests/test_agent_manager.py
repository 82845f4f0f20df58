"""Whatever happens to workers, every planned job ends as exactly one Completion or Failure, and is judged once."""

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.errors import DeviceError, SandboxError
from swarmeval.records import Completion, Failure, Outcome, Verdict
from swarmeval.requests import Answer, ReplicaInfo, Reply, Request, WorkerProgress
from swarmeval.runs.journal import Entry, Journal
from tests.support.coordinator_bench import Bench
from tests.support.echo_fleet import EchoFleet, EchoWorker

faults = st.builds(
    EchoWorker,
    st.just("cpu:0"),
    deaths=st.lists(st.integers(1, 20), max_size=4),
    poison=st.frozensets(st.sampled_from(["0/T/0/0/0", "1/T/1/0/0", "0/T/2/1/0"]), max_size=1),
    bad_loads=st.integers(0, 2),
    refused=st.dictionaries(st.sampled_from(["0/T/0/0/0", "1/T/0/0/0"]), st.integers(0, 4)),
)


def excusable(workers: list[EchoWorker]) -> set[str]:
    """Jobs that may fail: those that kill workers, are refused three times, or were in flight in three deaths."""
    refused = {job_id for worker in workers for job_id, times in worker.refusals.items() if times >= 3}
    met = Counter(job_id for worker in workers for death in worker.victims for job_id in death)
    return refused | {job_id for job_id, deaths in met.items() if deaths >= 3} | {
        job_id
        for worker in workers
        for job_id in worker.refusals
        if worker.refusals[job_id] + met[job_id] >= 3
    }  # fmt: skip


@given(
    agents=st.integers(1, 4),
    tasks=st.integers(1, 5),
    samples=st.integers(1, 3),
    size=st.integers(1, 9),
    workers=st.lists(faults, min_size=1, max_size=3),
    distribution=st.sampled_from(["dynamic", "round_robin"]),
)
def test_every_job_is_answered_and_judged_exactly_once(agents, tasks, samples, size, workers, distribution) -> None:  # type: ignore[no-untyped-def]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), agents, tasks, num_samples=samples, batch_size=size, distribution=distribution)
        sound = EchoWorker("cpu:9")  # one survivor: without any worker the run would stop, correctly
        assert bench.run(EchoFleet([*workers, sound]))
        answers = bench.answers()
        assert set(answers) == bench.planned()
        completed = {job_id for job_id, answer in answers.items() if isinstance(answer, Completion)}
        assert bench.judged == Counter(completed)
        assert bench.ledger.judged.count == len(completed)
        assert all(
            answer.reply == f"echo {job_id}" for job_id, answer in answers.items() if isinstance(answer, Completion)
        )


def test_a_job_that_was_alone_in_flight_in_three_deaths_fails(tmp_path: Path) -> None:
    bench = Bench(tmp_path, agents=4, tasks=4)
    worker = EchoWorker("cpu:0", poison=frozenset({"2/T/1/0/0"}))
    assert bench.run(EchoFleet([worker]))
    failed = {job_id: answer for job_id, answer in bench.answers().items() if isinstance(answer, Failure)}
    assert {job_id: (f.attempts, f.reason) for job_id, f in failed.items()} == {
        "2/T/1/0/0": (len(worker.victims), "cpu:0: died at work")
    }
    assert worker.victims[-3:] == [{"2/T/1/0/0"}] * 3


class CountingWorker(EchoWorker):
    """An EchoWorker whose replies state their computed tokens: half of those delivered."""

    def answer(self, request: Request) -> Answer:
        given = super().answer(request)
        if not isinstance(given, Reply):
            return given
        before = self.progress
        delivered, computed = before.output_tokens + 2, (before.computed_tokens or 0) + 1
        self.progress = WorkerProgress(1, 0, delivered, computed_tokens=computed)
        return Reply(given.job_id, given.text, 1, 2, 0.0, 0.1, 0.2, "stop", computed_tokens=1)


def test_the_status_tells_computed_tokens_from_delivered_ones(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.run(EchoFleet([CountingWorker("cpu:0"), CountingWorker("cpu:1")]))
    status = bench.coordinator.status()
    assert (status.output_tokens, status.computed_tokens) == (12, 6)
    assert status.computed_tokens_per_s == pytest.approx((status.tokens_per_s or 0) / 2)
    assert (bench.ledger.output_tokens, bench.ledger.computed_tokens) == (12, 6)


def test_the_status_states_no_computed_tokens_that_a_worker_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.run(EchoFleet([CountingWorker("cpu:0"), EchoWorker("cpu:1")]))
    status = bench.coordinator.status()
    assert (status.output_tokens, status.computed_tokens, status.computed_tokens_per_s) == (12, None, None)


def test_a_resumed_run_sums_the_computed_tokens_of_both_sessions(tmp_path: Path) -> None:
    bench = Bench(tmp_path, agents=5, tasks=12)
    assert not bench.run(EchoFleet([CountingWorker("cpu:0")]), drain_after=2)
    before = bench.ledger.computed_tokens
    assert before
    assert bench.run(EchoFleet([CountingWorker("cpu:0")]))
    assert bench.coordinator.status().computed_tokens == 60 - before
    assert bench.ledger.computed_tokens == 60


def test_a_refused_job_is_tried_three_times_in_all(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.run(EchoFleet([EchoWorker("cpu:0", refused={"0/T/0/0/0": 2, "1/T/0/0/0": 3})]))
    lucky, unlucky = bench.answers()["0/T/0/0/0"], bench.answers()["1/T/0/0/0"]
    assert (type(lucky), lucky.attempts) == (Completion, 3)
    assert unlucky == Failure("1/T/0/0/0", "not now", 3, "cpu:0", unlucky.finished_at, unlucky.elapsed_s)


def test_a_device_that_dies_loading_three_times_retires_and_loses_no_job(tmp_path: Path) -> None:
    bench = Bench(tmp_path, distribution="round_robin")
    bad, good = EchoWorker("cpu:0", bad_loads=99), EchoWorker("cpu:1")
    assert bench.run(EchoFleet([bad, good]))
    assert bad.starts == 3
    assert set(good.served) == bench.planned()


def test_with_no_device_left_the_run_stops_and_resumes_later(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(ExceptionGroup) as caught:
        bench.run(EchoFleet([EchoWorker("cpu:0", bad_loads=99)]))
    error = caught.value.exceptions[0]
    assert isinstance(error, DeviceError)
    assert str(error) == "no device is left (cpu:0: died while loading); fix this, then repeat the command to resume"
    assert bench.run(EchoFleet([EchoWorker("cpu:0")]))
    assert set(bench.answers()) == bench.planned()


def test_a_device_that_says_it_is_unfit_is_not_tried_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    unfit = EchoWorker("cuda:0", broken="lm_head is on cpu")
    assert bench.run(EchoFleet([unfit, EchoWorker("cuda:1")]))
    assert unfit.starts == 1


@pytest.mark.parametrize("drain_after", [1, 3, 7])
def test_draining_keeps_what_began_and_resuming_generates_only_the_rest(tmp_path: Path, drain_after: int) -> None:
    bench = Bench(tmp_path, agents=4, tasks=5, workers={"max_in_flight": 1})
    first = EchoWorker("cpu:0")
    assert not bench.run(EchoFleet([first]), drain_after)
    done = set(bench.answers())
    assert done == set(first.served) == set(bench.judged)
    second = EchoWorker("cpu:0")
    assert bench.run(EchoFleet([second]))
    assert set(second.served) == bench.planned() - done
    assert bench.judged == Counter(bench.planned())


def test_completions_left_unjudged_by_a_session_are_judged_without_a_fleet(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with Journal(tmp_path) as journal:
        for job_id in sorted(bench.planned()):
            journal.append(Entry(completion=Completion(job_id, "text")))
        journal.append(Entry(verdict=Verdict("0/T/0/0/0", Outcome.PASSED, "")))
    assert bench.run(None)
    assert bench.judged == Counter(bench.planned() - {"0/T/0/0/0"})


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_not_done_in_a_hurry_gets_all_its_time_at_the_end(tmp_path: Path, workers: int) -> None:
    bench = Bench(tmp_path, eval_workers=workers)
    bench.slow = {"0/T/0/0/0": 1, "1/T/1/0/0": 2}
    assert bench.run(EchoFleet([EchoWorker("cpu:0")]))
    verdicts = [entry.verdict for entry in bench.journaled() if entry.verdict is not None]
    assert {bench.judged[job_id] for job_id in bench.slow} == {2}
    assert [verdict.job_id for verdict in verdicts[-2:]] == ["0/T/0/0/0", "1/T/1/0/0"]
    assert [(verdict.outcome, verdict.detail) for verdict in verdicts[-2:]] == [
        (Outcome.WRONG_ANSWER, ""),
        (Outcome.TIMED_OUT, "late"),
    ]
    assert len(verdicts) == bench.plan.total
    assert {job_id for job_id, times in bench.whole.items() if times} == set(bench.slow)
    assert bench.most_at_once == min(workers, len(os.sched_getaffinity(0)))


def test_a_sandbox_that_breaks_last_stops_the_run_and_the_next_judges_on(tmp_path: Path) -> None:
    class Broken(Bench):
        async def judge(self, completion: Completion, hurried: bool) -> Verdict:
            if not hurried:
                raise SandboxError("no fork")
            return await super().judge(completion, hurried)

    broken, bench = Broken(tmp_path), Bench(tmp_path)
    broken.slow = {"0/T/0/0/0": 1, "1/T/1/0/0": 1}
    with pytest.raises(ExceptionGroup) as caught:
        broken.run(EchoFleet([EchoWorker("cpu:0")]))
    assert caught.group_contains(SandboxError, match=r"^no fork$", depth=None)
    assert bench.run(None)
    assert bench.judged == Counter(broken.slow)


def test_a_broken_sandbox_stops_the_run_and_loses_no_completion(tmp_path: Path) -> None:
    class Broken(Bench):
        async def judge(self, completion: Completion, hurried: bool) -> Verdict:
            raise SandboxError("no fork")

    with pytest.raises(ExceptionGroup) as caught:
        Broken(tmp_path).run(EchoFleet([EchoWorker("cpu:0")]))
    assert caught.group_contains(SandboxError, match=r"^no fork$")
    bench = Bench(tmp_path)
    kept = set(bench.answers())
    again = EchoWorker("cpu:0")
    assert bench.run(EchoFleet([again]))
    assert kept.isdisjoint(again.served)
    assert bench.judged == Counter(bench.planned())


def test_which_device_served_a_job_is_recorded_and_round_robin_is_kept(tmp_path: Path) -> None:
    bench = Bench(tmp_path, agents=2, tasks=4, distribution="round_robin")
    assert bench.run(EchoFleet([EchoWorker("cpu:0"), EchoWorker("cpu:1")]))
    for answer in bench.answers().values():
        assert isinstance(answer, Completion)
        assert answer.batch_id == bench.plan.number(answer.job_id) // 2
        assert answer.device == f"cpu:{answer.batch_id % 2}"


def test_a_fast_starter_leaves_the_batches_of_a_device_that_still_loads(tmp_path: Path) -> None:
    bench = Bench(tmp_path, agents=1, tasks=4, batch_size=1)  # its own two jobs leave two of its four rows empty
    slow = EchoWorker("cpu:1", loading_steps=3)
    assert bench.run(EchoFleet([EchoWorker("cpu:0"), slow]))
    assert slow.served


@pytest.mark.slow
def test_a_worker_that_joins_during_the_run_takes_part_in_it(tmp_path: Path) -> None:
    late = EchoWorker("cpu:1")
    fleet = EchoFleet([])

    class Doorman(EchoWorker):
        async def start(self) -> ReplicaInfo:
            fleet.workers.append(late)
            return await super().start()

    fleet.workers = [Doorman("cpu:0", loading_steps=10**9)]
    bench = Bench(tmp_path, agents=4, tasks=4)
    assert bench.run(fleet)
    assert {answer.device for answer in bench.answers().values()} == {"cpu:1"}
    assert bench.readied == ["cpu:1"]
