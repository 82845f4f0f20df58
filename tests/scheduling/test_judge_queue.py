"""The judge queue: everything is judged once, however far judges fall behind, and generation never waits for them."""

import asyncio
import os
import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.records import Completion, Verdict, parse_job_id
from swarmeval.runs.journal import Entry, Journal
from swarmeval.scheduling import judge_queue
from tests.support.coordinator_bench import Bench
from tests.support.echo_fleet import EchoFleet, EchoWorker

MANY = {"agents": 30, "tasks": 20, "batch_size": 8}  # more jobs than may wait in memory


class Late(Bench):
    """Judges nothing until everything is answered."""

    async def judge(self, completion: Completion, hurried: bool) -> Verdict:
        async with asyncio.timeout(20):
            while self.ledger.unanswered:  # noqa: ASYNC110 (the ledger sets no event)
                await asyncio.sleep(0.001)
        return await super().judge(completion, hurried)


class Moody(Bench):
    """Judges with random delays."""

    draw = random.Random(0)

    async def judge(self, completion: Completion, hurried: bool) -> Verdict:
        for _ in range(self.draw.choice((0, 0, 1, 50))):
            await asyncio.sleep(0)
        return await super().judge(completion, hurried)


def test_generation_waits_for_no_judge(tmp_path: Path) -> None:
    bench = Late(tmp_path, **MANY)
    assert bench.plan.total > 2 * judge_queue.BACKLOG
    assert bench.run(EchoFleet([EchoWorker("cpu:0")]))
    assert bench.judged == Counter(bench.planned())


@given(seed=st.integers(0, 1 << 30), workers=st.integers(1, 5), drain_after=st.none() | st.integers(1, 60))
def test_however_judges_fall_behind_every_job_is_judged_once(seed: int, workers: int, drain_after: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge_queue, "BACKLOG", 3)
        patch.setattr(judge_queue, "LINES_AT_ONCE", 2)
        bench = Moody(Path(folder), agents=6, tasks=10, eval_workers=workers)
        bench.draw = random.Random(seed)
        bench.slow = dict.fromkeys(bench.draw.sample(sorted(bench.planned()), 5), 1)
        ended = bench.run(EchoFleet([EchoWorker("cpu:0"), EchoWorker("cpu:1")]), drain_after)
        if ended:
            assert bench.judged == {job_id: 2 if job_id in bench.slow else 1 for job_id in bench.planned()}
        else:
            assert bench.run(EchoFleet([EchoWorker("cpu:0")]))
        verdicts = [entry.verdict.job_id for entry in bench.journaled() if entry.verdict is not None]
        assert Counter(verdicts) == Counter(bench.planned())


def test_programs_that_run_again_are_announced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path, agents=1, tasks=5, eval_workers=1)
    bench.slow = dict.fromkeys(list(bench.planned())[:3], 1)
    with caplog.at_level("WARNING"):
        assert bench.run(EchoFleet([EchoWorker("cpu:0")]))
    assert caplog.messages == ["3 programs are being rerun with the full time limit (up to 30 s)"]


def test_what_is_judged_last_says_how_long_it_will_take(tmp_path: Path) -> None:
    said: list[float | None] = []

    class Asked(Bench):
        async def judge(self, completion: Completion, hurried: bool) -> Verdict:
            if not hurried:
                await asyncio.sleep(0.02)
                said.append(self.coordinator.status().eta_s)
            return await super().judge(completion, hurried)

    bench = Asked(tmp_path, agents=2, tasks=3, eval_workers=1)
    bench.slow = dict.fromkeys(bench.planned(), 1)
    assert bench.run(EchoFleet([EchoWorker("cpu:0")]))
    assert (said[0], len(said)) == (None, 6)
    for left, eta in zip(range(5, 0, -1), said[1:], strict=True):
        assert eta is not None
        assert 0.015 * left < eta < 0.5 * left


def test_equal_replies_that_ran_out_wait_for_one_of_them(tmp_path: Path) -> None:
    """While it runs with the whole limit, the other core is free for the program of another task."""
    running: set[str] = set()
    most = 0

    class Noted(Bench):
        async def judge(self, completion: Completion, hurried: bool) -> Verdict:
            nonlocal most
            task = parse_job_id(completion.job_id).task_id
            if not hurried:
                assert task not in running
                running.add(task)
                most = max(most, len(running))
                await asyncio.sleep(0)
                running.remove(task)
            return await super().judge(completion, hurried)

    bench = Noted(tmp_path, agents=6, tasks=2, eval_workers=2)
    with Journal(tmp_path) as journal:
        for job_id in sorted(bench.planned()):
            journal.append(Entry(completion=Completion(job_id, "the same reply")))
    bench.slow = dict.fromkeys(bench.planned(), 1)
    assert bench.run(None)
    assert bench.whole == dict.fromkeys(bench.planned(), 1)
    assert most == min(2, len(os.sched_getaffinity(0)))
