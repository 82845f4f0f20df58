"""Estimates from progress reports how many jobs a replica has room for. Independent of workers and clocks."""

from swarmeval.requests import WorkerProgress

MAX_JOBS_PER_ROW = 64  # bounds memory, and the jobs to search if the worker dies; a greedy swarm of 50 needs 50


class RowCapacity:
    """Estimates how many jobs occupy all rows of a replica whose jobs share a row while their tokens are the same.

    Starts with one job per row. A report with free rows and no backlog raises the estimate to the jobs in flight plus
    one per free row, but by `rows` at most, because jobs that have just begun share more than they will later. A
    backlog of more than `rows` jobs lowers it to the jobs that the rows hold. A smaller backlog is the reserve that
    `limit` intends. Where jobs do not share rows, the estimate stays at `rows`, unless the reserve runs out.
    """

    def __init__(self, rows: int, last_report: WorkerProgress) -> None:
        """`last_report` is that of the time before the replica got its first job."""
        self._rows = rows
        self._last_report = last_report
        self.jobs = rows

    @property
    def limit(self) -> int:
        """The jobs that the replica should hold: those that occupy its rows, and one more per row as a reserve."""
        return self.jobs + self._rows

    def update(self, report: WorkerProgress, in_flight: int) -> None:
        """Adapt the estimate to a report; a repeated one changes nothing. `in_flight`: jobs that the replica holds.

        A replica that does not know its computed tokens (vLLM, a server) shares no rows as far as we can tell. One
        without rows in use is idle or between two batches, which says nothing about sharing.
        """
        if report == self._last_report:
            return
        self._last_report = report
        if report.computed_tokens is None or not report.rows_in_use:
            return
        free_rows = self._rows - report.rows_in_use
        if free_rows > 0 and not report.waiting:
            self.jobs = max(self.jobs, min(in_flight + free_rows, self.jobs + self._rows))
        elif report.waiting > self._rows:
            self.jobs = min(self.jobs, in_flight - report.waiting)
        self.jobs = min(max(self.jobs, self._rows), (MAX_JOBS_PER_ROW - 1) * self._rows)
