"""Finds jobs that kill workers: groups of suspects run in isolation, and a group that kills its worker is halved.

A death is weak evidence against the jobs in flight, because most workers are killed from outside. Jobs therefore become
suspects only after they were in flight at two deaths. A group whose worker survives is answered. A job only fails after
it was alone in flight at several deaths.
"""

from collections import Counter, deque
from collections.abc import Sequence

SUSPECT_AFTER = 2  # deaths with the job in flight among others


class Suspects:
    """The waiting groups, and the evidence against each unanswered job."""

    def __init__(self, max_attempts: int) -> None:
        """`max_attempts`: deaths with only this job in flight until the job fails."""
        self._max_attempts = max_attempts
        self._threshold = min(SUSPECT_AFTER, max_attempts - 1)
        self._in_company: Counter[int] = Counter()  # job -> deaths with other jobs in flight as well
        self._alone: Counter[int] = Counter()  # job -> deaths with only this job in flight
        self._groups: deque[list[int]] = deque()

    @property
    def waiting(self) -> bool:
        return bool(self._groups)

    def take(self) -> list[int] | None:
        """The next group, which must run in isolation; None if no group is waiting."""
        return self._groups.popleft() if self._groups else None

    def put_back(self, group: Sequence[int]) -> None:
        """Return a group that was taken but never started to the front of the queue."""
        self._groups.appendleft(list(group))

    def clear(self, k: int) -> None:
        """Delete the evidence against a job that has been answered or has failed."""
        self._in_company.pop(k, None)
        self._alone.pop(k, None)

    def record_death(self, jobs: Sequence[int], ran_alone: bool) -> tuple[list[int], list[int]]:
        """Record a death with these jobs in flight; return (jobs to retry in normal batches, jobs that fail).

        `ran_alone`: whether the jobs were a group of suspects. All remaining jobs are now suspects.
        """
        if self._max_attempts == 1:
            return [], list(jobs)
        if len(jobs) == 1:
            return self._record_death_alone(jobs[0])
        if ran_alone:
            self._halve(jobs)
            return [], []
        self._in_company.update(jobs)
        suspects = [k for k in jobs if self._in_company[k] >= self._threshold]
        self._halve(suspects)
        return [k for k in jobs if self._in_company[k] < self._threshold], []

    def _record_death_alone(self, k: int) -> tuple[list[int], list[int]]:
        self._alone[k] += 1
        if self._alone[k] >= self._max_attempts:
            return [], [k]
        self._groups.appendleft([k])
        return [], []

    def _halve(self, jobs: Sequence[int]) -> None:
        """Queue both halves. Neighbours stay together, because jobs of one task may kill for the same reason."""
        ordered = sorted(jobs)
        middle = len(ordered) // 2
        self._groups.extend(half for half in (ordered[:middle], ordered[middle:]) if half)
