"""All agents of a task meet on one device, and a device holds as many jobs as its rows can serve."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from swarmeval.records import split_job_id
from swarmeval.requests import Answer, ReplicaInfo, Request
from swarmeval.workers.replica_spec import Script
from tests.support.coordinator_bench import Bench
from tests.support.echo_fleet import EchoFleet, EchoWorker
from tests.support.scripted_fleet import scripted


class Slow(EchoWorker):
    """Answers nothing until another worker has answered `until` jobs."""

    other: EchoWorker
    until: int

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        while len(self.other.served) < self.until:  # noqa: ASYNC110 (the other sets no event)
            await asyncio.sleep(0)
        async for answer in super().generate(requests):
            yield answer


class Host(Slow):
    """Lets the other worker join the fleet once it has loaded."""

    fleet: EchoFleet

    async def start(self) -> ReplicaInfo:
        info = await super().start()
        self.fleet.workers.append(self.other)
        return info


def slow_and_fast(until: int) -> tuple[EchoFleet, EchoWorker, EchoWorker]:
    slow, fast = Slow("cpu:0"), EchoWorker("cpu:1")
    slow.other, slow.until = fast, until
    return EchoFleet([slow, fast]), slow, fast


def tasks_of(worker: EchoWorker) -> list[int]:
    """The task number of each job that the worker answered, in order."""
    return [int(split_job_id(job_id)[1].removeprefix("T/")) for job_id in worker.served]


@pytest.mark.parametrize("size", [4, 5, 8])
def test_all_agents_of_a_task_meet_on_one_of_two_devices(tmp_path: Path, size: int) -> None:
    bench = Bench(tmp_path, agents=16, tasks=12, batch_size=size)
    workers = [EchoWorker("cpu:0"), EchoWorker("cpu:1")]
    assert bench.run(EchoFleet(workers))
    homes: dict[int, set[str]] = defaultdict(set)
    for worker in workers:
        for task in tasks_of(worker):
            homes[task].add(worker.name)
    assert sum(len(names) > 1 for names in homes.values()) <= 1  # the last task, once the other device is idle
    assert all(min(tasks_of(worker)) == number for number, worker in enumerate(workers))


def test_an_idle_device_takes_whole_tasks_before_part_of_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, agents=20, tasks=6, batch_size=5)  # the slow device takes ten jobs of task 0 at once
    fleet, slow, fast = slow_and_fast(until=110)
    assert bench.run(fleet)
    assert tasks_of(slow) == [0] * 10
    assert sorted(tasks_of(fast)) == [0] * 10 + [task for task in (1, 2, 3, 4, 5) for _ in range(20)]
    assert tasks_of(fast)[-6:] == [0] * 6


def test_with_round_robin_an_idle_device_leaves_the_tasks_of_a_slow_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, agents=4, tasks=6, batch_size=4, distribution="round_robin")
    fleet, slow, fast = slow_and_fast(until=12)
    assert bench.run(fleet)
    assert (set(tasks_of(slow)), set(tasks_of(fast))) == ({0, 2, 4}, {1, 3, 5})


@pytest.mark.slow
def test_a_device_that_joins_takes_whole_tasks(tmp_path: Path) -> None:
    bench = Bench(tmp_path, agents=8, tasks=6, batch_size=4)
    host, guest = Host("cpu:0"), EchoWorker("cpu:1")
    host.other, host.until = guest, 40
    host.fleet = EchoFleet([host])
    assert bench.run(host.fleet)
    assert (set(tasks_of(host)), set(tasks_of(guest))) == ({0}, {1, 2, 3, 4, 5})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("jobs_per_row", "max_in_flight", "least", "most"), [(1, "auto", 12, 23), (3, "auto", 24, 39), (3, 2, 8, 16)]
)
def test_what_a_device_holds_follows_the_rows_that_it_uses(
    tmp_path: Path, jobs_per_row: int, max_in_flight: str | int, least: int, most: int
) -> None:
    bench = Bench(tmp_path, agents=60, tasks=4, batch_size=8, workers={"max_in_flight": max_in_flight})
    assert bench.run(scripted(Script(rows=8, jobs_per_row=jobs_per_row, steps=5, step_s=0.02 * jobs_per_row)))
    held = [status.workers[0].in_flight for status in bench.statuses if status.workers]
    assert least <= max(held) <= most
