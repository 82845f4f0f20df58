"""Finds the job that kills workers: suspects run in groups with nothing beside them, and a group that kills is halved.

A worker's end says nothing about the jobs of another worker, and little about those in flight: most workers are killed
from outside. So jobs are suspects only after they were in flight at two ends, a group that survives is answered, and
only a job that was alone in flight at several ends is to blame.
"""

from collections import Counter, deque
from collections.abc import Sequence

SUSPECT_AFTER = 2  # ends of workers that had the job in flight among others


class Suspects:
    """The groups that wait, and what speaks against each job that is not answered."""

    def __init__(self, max_attempts: int) -> None:
        """`max_attempts`: ends of workers with one job in flight, the same each time, until it fails."""
        self._max_attempts = max_attempts
        self._threshold = min(SUSPECT_AFTER, max_attempts - 1)
        self._in_company: Counter[int] = Counter()  # by job, ends of workers that had others in flight as well
        self._alone: Counter[int] = Counter()  # by job, ends of workers that had only this one
        self._groups: deque[list[int]] = deque()

    @property
    def waiting(self) -> bool:
        return bool(self._groups)

    def take(self) -> list[int] | None:
        """The next group, to be run with nothing beside it; None where none waits."""
        return self._groups.popleft() if self._groups else None

    def put_back(self, group: Sequence[int]) -> None:
        """Let a group that was taken and never begun be the next again."""
        self._groups.appendleft(list(group))

    def clear(self, k: int) -> None:
        """Forget what speaks against a job, which is answered or failed."""
        self._in_company.pop(k, None)
        self._alone.pop(k, None)

    def record_death(self, jobs: Sequence[int], ran_alone: bool) -> tuple[list[int], list[int]]:
        """Judge the jobs in flight at a worker's end; gives those to be tried again among others, and those that fail.

        `ran_alone`: they were a group. The rest are suspects from now on.
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
        """Queue both halves; neighbours stay together, since jobs of one task may kill for the same reason."""
        ordered = sorted(jobs)
        middle = len(ordered) // 2
        self._groups.extend(half for half in (ordered[:middle], ordered[middle:]) if half)
