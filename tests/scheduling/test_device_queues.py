"""The queues hand out every job once, keep tasks together, and let idle devices help slow ones."""

from collections import defaultdict, deque
from collections.abc import Callable, Collection
from itertools import count
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from swarmeval.runs.ledger import Bits
from swarmeval.runs.plan import whole_tasks
from swarmeval.scheduling.device_queues import DeviceQueues

shapes = {
    "tasks": st.integers(0, 12), "per_task": st.integers(1, 12), "size": st.integers(1, 9),
    "devices": st.integers(1, 4), "done": st.sets(st.integers(0, 143)), "random": st.randoms(),
}  # fmt: skip


def next_not_in(done: Collection[int]) -> Callable[[int], int]:
    return lambda k: next(j for j in count(k) if j not in done)


def by_task(tasks: int, per_task: int, size: int, devices: int, done: Collection[int] = ()) -> DeviceQueues:
    """Queues with whole tasks as portions, as `distribution: dynamic` makes them."""
    return DeviceQueues(tasks * per_task, size, whole_tasks(per_task, size), devices, True, next_not_in(done))


def by_batch(total: int, size: int, devices: int, done: Collection[int] = ()) -> DeviceQueues:
    """Queues with batches as portions, as `distribution: round_robin` makes them."""
    return DeviceQueues(total, size, size, devices, False, next_not_in(done))


def batch_of(queues: DeviceQueues, device: int, dry: bool = True) -> list[int]:
    taken = queues.take(device, dry)
    assert taken is not None
    return taken


class BatchwiseDealing:
    """The documented dealing, written down as lists: batch i to device i mod n, and a lost device's from the end."""

    def __init__(self, total: int, size: int, devices: int, done: set[int]) -> None:
        batches = [range(first, min(first + size, total)) for first in range(0, total, size)]
        self._queues = [deque(batches[device::devices]) for device in range(devices)]
        self._retired: list[int] = []
        self._done = done

    def take(self, device: int) -> list[int] | None:
        while True:
            queue = self._queues[device]
            lost = max((self._queues[d] for d in sorted(self._retired) if d != device), key=len, default=deque())
            if not queue and not lost:
                return None
            if jobs := [k for k in (queue.popleft() if queue else lost.pop()) if k not in self._done]:
                return jobs

    def retire(self, device: int) -> None:
        self._retired.append(device)


@given(**shapes, returned=st.integers(0, 5), joining=st.integers(0, 2))
def test_every_undone_job_is_handed_out_exactly_once(  # type: ignore[no-untyped-def]
    tasks, per_task, size, devices, done, random, returned, joining
) -> None:
    queues = by_task(tasks, per_task, size, devices, done)
    handed: list[int] = []
    open_devices = list(range(devices))
    while open_devices:
        if joining and random.random() < 0.2:
            queues.add_device()
            open_devices.append(devices)
            devices, joining = devices + 1, joining - 1
        device = random.choice(open_devices)
        taken = queues.take(device, dry=True)
        if taken is None:
            open_devices.remove(device)
            continue
        assert 0 < len(taken) <= size
        assert len({k // size for k in taken}) == 1
        assert len({k // per_task for k in taken}) == 1 or 2 * per_task <= size
        handed += taken
        if returned and random.random() < 0.2:
            queues.give_back(handed.pop())
            returned -= 1
            open_devices = list(range(devices))
    assert sorted(handed) == [k for k in range(tasks * per_task) if k not in done]


@given(**shapes)
def test_round_robin_is_the_batchwise_dealing(  # type: ignore[no-untyped-def]
    tasks, per_task, size, devices, done, random
) -> None:
    total = tasks * per_task
    queues, expected = by_batch(total, size, devices, done), BatchwiseDealing(total, size, devices, done)
    open_devices = list(range(devices))
    while open_devices:
        device = random.choice(open_devices)
        if len(open_devices) > 1 and random.random() < 0.1:
            queues.retire(device)
            expected.retire(device)
            open_devices.remove(device)
            continue
        taken = queues.take(device, dry=True)
        assert taken == expected.take(device)
        if taken is None:
            open_devices.remove(device)


@given(**shapes)
def test_devices_that_are_never_dry_get_whole_tasks_in_turn(  # type: ignore[no-untyped-def]
    tasks, per_task, size, devices, done, random
) -> None:
    queues = by_task(tasks, per_task, size, devices, done)
    served: dict[int, set[int]] = defaultdict(set)
    for device in random.sample(range(devices), devices):
        while (taken := queues.take(device, dry=False)) is not None:
            for k in taken:
                served[k // per_task].add(device)
    together = whole_tasks(per_task, size) // per_task
    assert all(homes == {task // together % devices} for task, homes in served.items())


@given(st.integers(1, 20), st.integers(5, 12), st.integers(1, 9), st.integers(2, 4), st.randoms())
def test_a_task_is_only_divided_once_no_whole_one_waits(  # type: ignore[no-untyped-def]
    tasks, per_task, size, devices, random: Random
) -> None:
    queues = by_task(tasks, per_task, size, devices)
    homes: dict[int, set[int]] = defaultdict(set)
    while (taken := queues.take(device := random.randrange(devices), dry=True)) is not None:
        for k in taken:
            homes[k // per_task].add(device)
        if any(len(seen) > 1 for seen in homes.values()):
            assert len(homes) == tasks
            return


def test_an_idle_device_first_takes_the_last_task_of_the_longest_queue() -> None:
    queues = by_task(tasks=5, per_task=20, size=10, devices=2)  # device 0: tasks 0 2 4, device 1: tasks 1 3
    own = [batch_of(queues, 1, dry=False) for _ in range(4)]
    assert [jobs[0] // 20 for jobs in own] == [1, 1, 3, 3]
    assert batch_of(queues, 0) == list(range(10))
    assert [batch_of(queues, 1) for _ in range(4)] == [
        list(range(80, 90)), list(range(90, 100)), list(range(40, 50)), list(range(50, 60)),
    ]  # fmt: skip
    assert batch_of(queues, 1) == list(range(10, 20))  # only now part of the begun task


def test_an_idle_device_takes_half_of_a_begun_task_and_stays_with_it() -> None:
    queues = by_task(tasks=2, per_task=80, size=10, devices=2)
    assert batch_of(queues, 0) == list(range(10))
    for _ in range(4):
        batch_of(queues, 1)
    queues.add_device()
    assert batch_of(queues, 2) == list(range(40, 50))  # device 0 has 70 left, device 1 has 40
    assert batch_of(queues, 0) == list(range(10, 20))
    assert batch_of(queues, 2) == list(range(50, 60))
    left = [batch_of(queues, device)[0] for device in (0, 2, 0, 2)]
    assert left == [20, 60, 30, 70]


def test_a_joining_device_gets_a_whole_task_and_nothing_twice() -> None:
    queues = by_task(tasks=4, per_task=10, size=10, devices=2)  # device 0: tasks 0 2, device 1: tasks 1 3
    queues.add_device()
    assert queues.take(2, dry=False) is None
    taken = [queues.take(device, dry=True) for device in (2, 0, 1, 2, 2)]
    assert [found and found[0] for found in taken] == [20, 0, 10, 30, None]


def test_batches_end_with_their_task_and_begin_at_multiples_of_their_size() -> None:
    queues = by_task(tasks=2, per_task=20, size=8, devices=1)
    taken = [batch_of(queues, 0) for _ in range(6)]
    assert [(jobs[0], len(jobs)) for jobs in taken] == [(0, 8), (8, 8), (16, 4), (20, 4), (24, 8), (32, 8)]


def test_tasks_smaller_than_half_a_batch_travel_together() -> None:
    queues = by_task(tasks=9, per_task=2, size=8, devices=2)
    assert [batch_of(queues, device, dry=False) for device in (0, 1, 0)] == [
        list(range(8)), list(range(8, 16)), [16, 17],
    ]  # fmt: skip


def test_a_device_that_is_not_dry_leaves_the_others_tasks_alone() -> None:
    queues = by_task(tasks=2, per_task=10, size=10, devices=2)
    assert queues.take(0, dry=False) == list(range(10))
    assert queues.take(0, dry=False) is None
    assert queues.take(0, dry=True) == list(range(10, 20))


def test_round_robin_forbids_stealing_until_a_device_is_retired() -> None:
    queues = by_batch(20, 10, 2)
    assert queues.take(0, dry=True) == list(range(10))
    assert queues.take(0, dry=True) is None
    queues.retire(1)
    assert queues.take(0, dry=True) == list(range(10, 20))


def test_jobs_given_back_come_first_to_any_device_and_keep_their_batch() -> None:
    queues = by_task(tasks=6, per_task=10, size=10, devices=2)
    queues.take(0, dry=True)
    for k in (7, 3, 11):
        queues.give_back(k)
    assert queues.take(1, dry=True) == [7, 3]
    assert queues.take(0, dry=True) == [11]


def test_repairs_of_a_task_meet_on_the_device_to_which_it_was_dealt() -> None:
    queues = by_task(tasks=3, per_task=10, size=10, devices=2)  # device 0: tasks 0 2, device 1: task 1
    for k in (30 + 15, 30 + 25, 60 + 17, 30 + 16):  # repairs of the first round, and one of the second
        queues.give_back(k)
    assert [batch_of(queues, 0, dry=False) for _ in range(3)] == [[55], list(range(10)), list(range(20, 30))]
    assert queues.take(0, dry=False) is None
    assert [batch_of(queues, 1, dry=False) for _ in range(3)] == [[45], [77], [46]]


def test_a_device_without_other_work_takes_repairs_of_others() -> None:
    queues = by_task(tasks=2, per_task=10, size=10, devices=2)
    queues.give_back(20 + 15)
    queues.add_device()
    taken = [queues.take(2, dry=True) for _ in range(4)]
    assert taken == [list(range(10)), list(range(10, 20)), [35], None]


def test_what_an_earlier_session_did_is_skipped_in_a_few_steps() -> None:
    done = Bits(100_000)
    for k in range(99_990):
        done.add(k)
    for portion in (8, 50, 1000, 25_000):
        asked: list[int] = []

        def next_due(k: int, asked: list[int] = asked) -> int:
            asked.append(k)
            return done.next_missing(k)

        queues = DeviceQueues(100_000, 8, portion, 3, True, next_due)
        taken: list[int] = []
        for device in (0, 1, 2, 0, 1, 2):
            taken += queues.take(device, dry=False) or []
        assert sorted(taken) == list(range(99_990, 100_000))
        assert len(asked) < 40


@given(st.integers(0, 70), st.sets(st.integers(0, 69)), st.integers(0, 70))
def test_the_next_missing_bit_is_the_first_that_is_not_set(size: int, members: set[int], k: int) -> None:
    bits = Bits(size)
    for member in members:
        if member < size:
            bits.add(member)
    assert bits.next_missing(min(k, size)) == next(j for j in count(min(k, size)) if j not in members or j >= size)
