"""Jobs that kill workers are found by halving, their neighbours are answered, and outside kills cost few batches."""

import tempfile
from collections.abc import AsyncIterator, Sequence
from math import ceil, log2
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from swarmeval.records import Failure
from swarmeval.requests import Answer, Request
from tests.support.coordinator_bench import Bench
from tests.support.echo_fleet import EchoFleet, EchoWorker

Call = tuple[str, frozenset[str], bool]  # a worker, what it was asked, and whether it had nothing else in flight


class Recorded(EchoWorker):
    """Writes every call into a list that the fleet shares."""

    calls: list[Call]

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        self.calls.append((self.name, frozenset(request.job_id for request in requests), not self.in_flight))
        async for answer in super().generate(requests):
            yield answer


def job(n: int) -> str:
    return f"{n}/T/0/0/0"


def run(folder: str, jobs: int, workers: Sequence[EchoWorker], size: int = 2, in_flight: int = 4) -> set[str]:
    """Have so many jobs answered; gives those that failed."""
    bench = Bench(Path(folder), agents=jobs, tasks=1, batch_size=size, workers={"max_in_flight": in_flight})
    assert bench.run(EchoFleet(workers))
    answers = bench.answers()
    assert set(answers) == bench.planned()
    return {job_id for job_id, answer in answers.items() if isinstance(answer, Failure)}


def deaths(workers: Sequence[EchoWorker]) -> int:
    return sum(len(worker.victims) for worker in workers)


@given(
    jobs=st.integers(1, 64), killer=st.integers(0, 63), size=st.integers(1, 8), in_flight=st.integers(1, 8),
    workers=st.integers(1, 3), at_once=st.booleans(),
)  # fmt: skip
@example(jobs=64, killer=0, size=8, in_flight=8, workers=1, at_once=True)
def test_one_killer_is_found_in_a_logarithm_of_deaths(
    jobs: int, killer: int, size: int, in_flight: int, workers: int, at_once: bool
) -> None:
    poison = frozenset({job(killer % jobs)})
    fleet = [EchoWorker(f"cpu:{n}", poison=poison, at_once=at_once) for n in range(workers)]
    with tempfile.TemporaryDirectory() as folder:
        assert run(folder, jobs, fleet, size, in_flight) == poison
    together = min(jobs, size * in_flight)
    assert deaths(fleet) <= 2 + ceil(log2(together)) + 3


@given(
    jobs=st.integers(24, 64), killers=st.sets(st.integers(8, 23), min_size=2, max_size=2), workers=st.integers(1, 3),
    at_once=st.booleans(),
)  # fmt: skip
def test_two_killers_are_found_and_nobody_else(jobs: int, killers: set[int], workers: int, at_once: bool) -> None:
    poison = frozenset(map(job, killers))
    fleet = [EchoWorker(f"cpu:{n}", poison=poison, at_once=at_once) for n in range(workers)]
    with tempfile.TemporaryDirectory() as folder:
        assert run(folder, jobs, fleet) == poison
    assert deaths(fleet) <= 2 * (2 + 3 + 3)


@given(
    jobs=st.integers(1, 64), size=st.integers(1, 8), in_flight=st.integers(1, 8), workers=st.integers(1, 3),
    kills=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 80)), max_size=2),
)  # fmt: skip
def test_two_kills_from_outside_cost_a_few_batches_and_no_job(
    jobs: int, size: int, in_flight: int, workers: int, kills: list[tuple[int, int]]
) -> None:
    calls: list[Call] = []
    fleet = [Recorded(f"cpu:{n}", [at for who, at in kills if who % workers == n]) for n in range(workers)]
    for worker in fleet:
        worker.calls = calls
    with tempfile.TemporaryDirectory() as folder:
        assert run(folder, jobs, fleet, size, in_flight) == set()
    assert len(calls) <= ceil(jobs / size) + deaths(fleet) * (in_flight + 2)
    alone = [asked for _, asked, is_alone in calls if is_alone and len(asked) == 1]
    assert size == 1 or len(alone) <= 2 * workers + 2 * len(kills) + ceil(jobs / size)


@given(jobs=st.integers(16, 64), kills=st.lists(st.integers(1, 120), max_size=8))
def test_kills_from_outside_fail_no_job_that_was_not_alone(jobs: int, kills: list[int]) -> None:
    fleet = [EchoWorker("cpu:0", kills[::2]), EchoWorker("cpu:1", kills[1::2]), EchoWorker("cpu:2")]
    with tempfile.TemporaryDirectory() as folder:
        failed = run(folder, jobs, fleet, size=8, in_flight=2)
    victims = [death for worker in fleet for death in worker.victims]
    assert all(victims.count({job_id}) >= 3 for job_id in failed)


def test_a_group_of_suspects_has_nothing_beside_it_and_others_work_on() -> None:
    calls: list[Call] = []
    fleet = [Recorded(f"cpu:{n}", poison=frozenset({job(3)}), at_once=True) for n in range(2)]
    for worker in fleet:
        worker.calls = calls
    with tempfile.TemporaryDirectory() as folder:
        assert run(folder, 400, fleet) == {job(3)}
    groups = [n for n, (_, asked, _) in enumerate(calls) if asked <= set(map(job, range(16))) and n > 16]
    assert all(calls[n][2] for n in groups)
    searched = calls[groups[0] : groups[-1]]
    assert len([asked for _, asked, _ in searched if not asked <= set(map(job, range(16)))]) > len(groups)


def test_a_machine_that_answers_nothing_is_retired_early() -> None:
    broken = EchoWorker("cpu:0", poison=frozenset(map(job, range(16))))
    with tempfile.TemporaryDirectory() as folder:
        assert run(folder, 16, [broken, EchoWorker("cpu:1", loading_steps=2000)], in_flight=4) == set()
    assert broken.starts <= 6
