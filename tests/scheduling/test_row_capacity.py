"""The number of jobs that a device may hold follows the rows in use, without floods and without swinging."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from swarmeval.requests import WorkerProgress
from swarmeval.scheduling.row_capacity import MAX_JOBS_PER_ROW, RowCapacity

BEFORE = WorkerProgress(rows_in_use=0, waiting=0, output_tokens=0)


class Reports:
    """Progress reports of a replica that knows its computed tokens; each differs from the one before."""

    def __init__(self) -> None:
        self._tokens = 0

    def next(self, rows_in_use: int, waiting: int, computed: bool = True) -> WorkerProgress:
        self._tokens += 1
        return WorkerProgress(rows_in_use, waiting, self._tokens, computed_tokens=self._tokens if computed else None)


class SharingReplica:
    """A replica in which `share` jobs fit into one row. Dispatch keeps it at the limit while there is work."""

    def __init__(self, rows: int, share: float) -> None:
        self.rows = rows
        self.share = share
        self.in_flight = 0
        self._reports = Reports()

    def report(self) -> WorkerProgress:
        fit = int(self.rows * self.share)
        used = -(-min(self.in_flight, fit) // self.share)
        return self._reports.next(int(min(used, self.rows)), max(0, self.in_flight - fit))


def limits(replica: SharingReplica, capacity: RowCapacity, seconds: int) -> list[int]:
    """The limit after each second with more work than the replica can hold."""
    seen = []
    for _ in range(seconds):
        replica.in_flight = max(replica.in_flight, capacity.limit)
        report = replica.report()
        capacity.update(report, replica.in_flight)
        replica.in_flight = min(replica.in_flight, capacity.limit)  # finished jobs are not replaced above the limit
        seen.append(capacity.limit)
    return seen


def is_settled(replica: SharingReplica, limit: int) -> bool:
    """Whether so many jobs occupy all rows, with a reserve of at most one or two jobs per row."""
    busy = replica.report().rows_in_use == replica.rows or limit == MAX_JOBS_PER_ROW * replica.rows
    return busy and limit <= max(2, int(replica.rows * replica.share) + 2 * replica.rows)


def test_a_device_starts_with_twice_as_many_jobs_as_rows() -> None:
    capacity = RowCapacity(8, BEFORE)
    assert (capacity.jobs, capacity.limit) == (8, 16)
    capacity.update(BEFORE, 16)
    assert capacity.limit == 16


def test_free_rows_without_backlog_raise_the_limit_by_the_rows_per_report() -> None:
    capacity, reports = RowCapacity(8, BEFORE), Reports()
    capacity.update(reports.next(3, 0), in_flight=16)
    assert capacity.limit == 24
    capacity.update(reports.next(5, 0), in_flight=24)
    assert capacity.limit == 32


def test_the_same_report_counts_once() -> None:
    capacity, report = RowCapacity(8, BEFORE), Reports().next(3, 0)
    for _ in range(5):
        capacity.update(report, in_flight=16)
    assert capacity.limit == 24


def test_a_backlog_above_one_job_per_row_lowers_the_limit() -> None:
    capacity, reports = RowCapacity(8, BEFORE), Reports()
    for in_flight in (16, 24, 32):
        capacity.update(reports.next(4, 0), in_flight)
    assert capacity.limit == 40
    capacity.update(reports.next(8, 8), in_flight=40)
    assert capacity.limit == 40
    capacity.update(reports.next(8, 20), in_flight=40)  # its rows hold 20 jobs
    assert capacity.limit == 28
    capacity.update(reports.next(8, 15), in_flight=35)  # the same 20 jobs: not lowered once more
    assert capacity.limit == 28


def test_a_device_with_few_jobs_left_says_nothing_about_more() -> None:
    capacity, reports = RowCapacity(8, BEFORE), Reports()
    capacity.update(reports.next(3, 0), in_flight=3)
    assert capacity.limit == 16


def test_a_replica_between_two_batches_says_nothing_about_sharing() -> None:
    capacity, reports = RowCapacity(8, BEFORE), Reports()
    capacity.update(reports.next(0, 0), in_flight=16)
    assert capacity.limit == 16


def test_where_computed_tokens_are_unknown_every_job_counts_as_a_row() -> None:
    capacity, reports = RowCapacity(8, BEFORE), Reports()
    capacity.update(reports.next(2, 0, computed=False), in_flight=16)
    assert capacity.limit == 16


@given(st.integers(1, 64), st.integers(1, 200), st.randoms())
def test_without_sharing_the_limit_never_moves(rows: int, steps: int, random) -> None:  # type: ignore[no-untyped-def]
    capacity, reports = RowCapacity(rows, BEFORE), Reports()
    for _ in range(steps):
        in_flight = random.randint(1, 3 * rows)
        capacity.update(reports.next(min(in_flight, rows), max(0, in_flight - rows)), in_flight)
        assert capacity.limit == 2 * rows


@given(st.integers(1, 64), st.floats(1, 100))
def test_the_limit_settles_where_the_rows_are_busy_and_stays(rows: int, share: float) -> None:
    replica, capacity = SharingReplica(rows, share), RowCapacity(rows, BEFORE)
    seen = limits(replica, capacity, 200)
    assert all(later - earlier <= rows for earlier, later in pairwise(seen))
    assert len(set(seen[-50:])) == 1
    assert max(seen) <= MAX_JOBS_PER_ROW * rows
    assert is_settled(replica, seen[-1])


@given(st.integers(1, 64), st.floats(1, 100), st.floats(1, 100))
def test_the_limit_follows_a_change_of_sharing(rows: int, before: float, after: float) -> None:
    replica, capacity = SharingReplica(rows, before), RowCapacity(rows, BEFORE)
    limits(replica, capacity, 100)
    replica.share = after
    assert is_settled(replica, limits(replica, capacity, 100)[-1])


@given(
    st.integers(1, 64),
    st.lists(st.tuples(st.integers(0, 70), st.integers(0, 5000), st.integers(0, 5000), st.booleans())),
)
def test_whatever_is_reported_the_limit_keeps_its_bounds(rows: int, reports: list[tuple[int, int, int, bool]]) -> None:
    capacity, maker = RowCapacity(rows, BEFORE), Reports()
    for used, waiting, in_flight, computed in reports:
        earlier = capacity.limit
        capacity.update(maker.next(used, waiting, computed), in_flight)
        assert 2 * rows <= capacity.limit <= min(MAX_JOBS_PER_ROW * rows, earlier + rows)
