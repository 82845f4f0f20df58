"""Deals jobs to devices in portions, and hands them out in batches: requeued jobs first, then own ones, then stolen.

A portion is what the dealing keeps together: whole tasks, or a single batch. Portion i is dealt to device i mod n.
Stores counters instead of jobs: the waiting portions of a device are `device, device + n, device + 2n, ...`, stored as
the two ends of that list, and the portion that it has begun is a range. Independent of workers and clocks.
"""

from collections import deque
from collections.abc import Callable

from swarmeval.runs.plan import batch, batch_count

NO_JOBS = range(0)


class DeviceQueues:
    """The jobs that each device has yet to take."""

    def __init__(
        self, total: int, batch_size: int, portion: int, devices: int, steal: bool, next_due: Callable[[int], int]
    ) -> None:
        """`portion`: number of jobs dealt together.

        `next_due(k)`: the first job from k on that no earlier session answered, possibly beyond `total`. Only such
        jobs are handed out.
        """
        self._total = total
        self._size = batch_size
        self._portion = portion
        self._stride = devices
        self._steal = steal
        self._next_due = next_due
        self._heads = [0] * devices  # of the waiting portions, counted per device
        self._tails = [len(range(device, batch_count(total, portion), devices)) for device in range(devices)]
        self._begun = [NO_JOBS] * devices  # what is left of the portion that the device has begun
        self._returned: deque[int] = deque()  # jobs to retry
        self._repairs: list[deque[int]] = [deque() for _ in range(devices)]
        self._retired: set[int] = set()

    def take(self, device: int, dry: bool) -> list[int] | None:
        """The unanswered jobs of the next batch for a device, or None if none are waiting for it.

        A `dry` device without jobs may get some of another device: a whole portion that waits, or else half of what is
        left of a begun one. Batches are cut at the end of a portion, so some have fewer than `batch_size` jobs.
        """
        for returned in (self._returned, self._repairs[device]):
            if returned:
                return self._of_one_batch(returned)
        while self._has_begun(device, dry):
            if jobs := self._next_batch(device):
                return jobs
        others = max(self._repairs, key=len)
        return self._of_one_batch(others) if dry and others else None

    def give_back(self, k: int) -> None:
        """Return an unanswered job to the queues. Any device takes it before its next batch.

        A repair (k >= total) waits for the device to which its task was dealt, unless another one is dry: equal
        replies are repaired alike, so their repairs share what is computed.
        """
        if k < self._total:
            self._returned.append(k)
        else:
            self._repairs[k % self._total // self._portion % self._stride].append(k)

    def add_device(self) -> None:
        """Add a device with an empty queue. It only gets jobs of other devices and returned jobs."""
        self._heads.append(0)
        self._tails.append(0)
        self._begun.append(NO_JOBS)
        self._repairs.append(deque())

    def retire(self, device: int) -> None:
        """Release the jobs of this device to the others, even if `distribution` is round_robin."""
        self._retired.add(device)

    def _of_one_batch(self, returned: deque[int]) -> list[int]:
        """Take returned jobs of a single batch, because a batch id must refer to one batch."""
        first = returned.popleft()
        number = first // self._size
        jobs = [first]
        while returned and returned[0] // self._size == number:
            jobs.append(returned.popleft())
        return jobs

    def _next_batch(self, device: int) -> list[int]:
        """Take the unanswered jobs of one batch from the begun portion; empty if none are left there."""
        begun = self._begun[device]
        first = self._next_due(begun.start)
        if first >= begun.stop:
            self._begun[device] = NO_JOBS
            return []
        stop = min(batch(first // self._size, self._total, self._size).stop, begun.stop)
        self._begun[device] = range(stop, begun.stop)
        return [k for k in range(first, stop) if self._next_due(k) == k]

    def _has_begun(self, device: int, dry: bool) -> bool:
        """Whether the device has a begun portion, after beginning another one if necessary."""
        if not self._begun[device]:
            self._begun[device] = self._own(device) or (self._stolen(device) if dry else NO_JOBS)
        return bool(self._begun[device])

    def _own(self, device: int) -> range:
        if self._heads[device] < self._tails[device]:
            self._skip_done(device)
        if self._heads[device] == self._tails[device]:
            return NO_JOBS
        self._heads[device] += 1
        return self._dealt(device, self._heads[device] - 1)

    def _dealt(self, device: int, place: int) -> range:
        """The jobs of the portion at this place of the device's queue."""
        return batch(device + place * self._stride, self._total, self._portion)

    def _skip_done(self, device: int) -> None:
        """Skip finished portions in one step: a loop over a million jobs would block the event loop."""
        dealt = self._dealt(device, self._heads[device])
        due = self._next_due(dealt.start)
        if due >= dealt.stop:
            behind = batch_count(due // self._portion - device, self._stride)  # this device's portions before `due`
            self._heads[device] = min(behind, self._tails[device])

    def _stolen(self, thief: int) -> range:
        """The last waiting portion of the longest queue that allows stealing, or else part of a begun portion."""
        open_to_theft = range(len(self._heads)) if self._steal else sorted(self._retired)
        victims = [device for device in open_to_theft if device != thief]
        victim = max(victims, key=lambda device: self._tails[device] - self._heads[device], default=None)
        if victim is None:
            return NO_JOBS
        if self._heads[victim] < self._tails[victim]:
            self._tails[victim] -= 1
            return self._dealt(victim, self._tails[victim])
        return self._half(max(victims, key=lambda device: len(self._begun[device])))

    def _half(self, victim: int) -> range:
        """Take the second half of the begun portion, rounded up to whole batches, so that the thief stays with it."""
        begun = self._begun[victim]
        middle = (begun.start + begun.stop) // 2
        cut = max(begun.start, middle // self._size * self._size)
        self._begun[victim] = range(begun.start, cut)
        return range(cut, begun.stop)
