"""The queues hand out every job once, in round-robin order, and let idle devices help slow ones."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from swarmeval.runs.ledger import Bits
from swarmeval.scheduling.device_queues import DeviceQueues


def nothing_done(k: int) -> int:
    return k


@given(
    st.integers(0, 60), st.integers(1, 9), st.integers(1, 4), st.booleans(), st.sets(st.integers(0, 59)), st.randoms()
)
def test_every_undone_job_is_handed_out_exactly_once(total, size, devices, steal, done, random) -> None:  # type: ignore[no-untyped-def]
    queues = DeviceQueues(total, size, devices, steal, lambda k: next(j for j in count(k) if j not in done))
    handed: list[int] = []
    open_devices = list(range(devices))
    while open_devices:
        device = random.choice(open_devices)
        taken = queues.take(device, dry=True)
        if taken is None:
            open_devices.remove(device)
        else:
            handed += taken
    assert sorted(handed) == [k for k in range(total) if k not in done]


def test_a_joining_device_gets_what_others_may_give_and_nothing_twice() -> None:
    queues = DeviceQueues(40, 10, 2, True, nothing_done)  # device 0: 0 2, device 1: 1 3
    queues.add_device()
    assert queues.take(2, dry=False) is None
    taken = [queues.take(device, dry=True) for device in (2, 0, 1, 2, 2)]
    assert [found and found[0] for found in taken] == [20, 0, 10, 30, None]


def test_batch_i_belongs_to_device_i_mod_n() -> None:
    queues = DeviceQueues(60, 10, 3, False, nothing_done)
    taken = {
        device: [queues.take(device, dry=True), queues.take(device, dry=True), queues.take(device, dry=True)]
        for device in range(3)
    }
    assert {device: [found[0] // 10 for found in batches if found] for device, batches in taken.items()} == {
        0: [0, 3],
        1: [1, 4],
        2: [2, 5],
    }


def test_a_dry_device_takes_the_last_batch_of_the_longest_queue() -> None:
    queues = DeviceQueues(60, 10, 2, True, nothing_done)  # device 0: 0 2 4, device 1: 1 3 5
    assert [queues.take(0, dry=True)[0] for _ in range(3)] == [0, 20, 40]  # type: ignore[index]
    assert queues.take(0, dry=True) == list(range(50, 60))


def test_a_device_that_is_not_dry_leaves_the_others_batches_alone() -> None:
    queues = DeviceQueues(20, 10, 2, True, nothing_done)
    assert queues.take(0, dry=False) == list(range(10))
    assert queues.take(0, dry=False) is None
    assert queues.take(0, dry=True) == list(range(10, 20))


def test_round_robin_forbids_stealing_until_a_device_is_retired() -> None:
    queues = DeviceQueues(20, 10, 2, False, nothing_done)
    assert queues.take(0, dry=True) == list(range(10))
    assert queues.take(0, dry=True) is None
    queues.retire(1)
    assert queues.take(0, dry=True) == list(range(10, 20))


def test_jobs_given_back_come_first_to_any_device_and_keep_their_batch() -> None:
    queues = DeviceQueues(60, 10, 2, True, nothing_done)
    queues.take(0, dry=True)
    for k in (7, 3, 11):
        queues.give_back(k)
    assert queues.take(1, dry=True) == [7, 3]
    assert queues.take(0, dry=True) == [11]


def test_what_an_earlier_session_did_is_skipped_in_a_few_steps() -> None:
    done = Bits(100_000)
    for k in range(99_990):
        done.add(k)
    asked: list[int] = []

    def next_due(k: int) -> int:
        asked.append(k)
        return done.next_missing(k)

    queues = DeviceQueues(100_000, 8, 3, True, next_due)
    taken = [queues.take(device, dry=False) for device in range(3)]
    assert sorted(k for found in taken if found for k in found) == list(range(99_990, 100_000))
    assert len(asked) < 40


@given(st.integers(0, 70), st.sets(st.integers(0, 69)), st.integers(0, 70))
def test_the_next_missing_bit_is_the_first_that_is_not_set(size: int, members: set[int], k: int) -> None:
    bits = Bits(size)
    for member in members:
        if member < size:
            bits.add(member)
    assert bits.next_missing(min(k, size)) == next(j for j in count(min(k, size)) if j not in members or j >= size)
