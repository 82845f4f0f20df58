"""Distributes batches to devices: round-robin queues, stealing from the tail, requeued jobs first.

Stores counters instead of jobs: the queue of a device is the batches `device, device + n, device + 2n, ...`, stored
as its two ends. Independent of workers and clocks.
"""

from collections import deque
from collections.abc import Callable

from swarmeval.runs.plan import batch, batch_count


class DeviceQueues:
    """The waiting batches of each device."""

    def __init__(self, total: int, batch_size: int, devices: int, steal: bool, next_due: Callable[[int], int]) -> None:
        """`next_due(k)`: the first job from k on that no earlier session answered, possibly beyond `total`. Only such
        jobs are handed out.
        """
        self._total = total
        self._size = batch_size
        self._stride = devices
        self._steal = steal
        self._next_due = next_due
        self._heads = [0] * devices
        self._tails = [len(range(device, batch_count(total, batch_size), devices)) for device in range(devices)]
        self._returned: deque[int] = deque()  # jobs to retry
        self._retired: set[int] = set()

    def take(self, device: int, dry: bool) -> list[int] | None:
        """The unanswered jobs of the next batch for a device, or None if none are waiting for it.

        A `dry` device may get a batch from the queue of another device.
        """
        if self._returned:
            return self._take_returned()
        while (number := self._next(device, dry)) is not None:
            jobs = [k for k in batch(number, self._total, self._size) if self._next_due(k) == k]
            if jobs:
                return jobs
        return None

    def give_back(self, k: int) -> None:
        """Return an unanswered job to the queues. Any device takes it before its next batch."""
        self._returned.append(k)

    def add_device(self) -> None:
        """Add a device with an empty queue. It only gets batches of other devices and returned jobs."""
        self._heads.append(0)
        self._tails.append(0)

    def retire(self, device: int) -> None:
        """Release the batches of this device to the others, also under static distribution."""
        self._retired.add(device)

    def _take_returned(self) -> list[int]:
        """Take returned jobs of a single batch, because a batch id must refer to one batch."""
        first = self._returned.popleft()
        number = first // self._size
        jobs = [first]
        while self._returned and self._returned[0] // self._size == number:
            jobs.append(self._returned.popleft())
        return jobs

    def _next(self, device: int, dry: bool) -> int | None:
        if self._heads[device] < self._tails[device]:
            self._skip_done(device)
        if self._heads[device] < self._tails[device]:
            self._heads[device] += 1
            return device + (self._heads[device] - 1) * self._stride
        return self._stolen(device) if dry else None

    def _skip_done(self, device: int) -> None:
        """Skip finished batches in one step: a loop over a million jobs would block the event loop."""
        first = (device + self._heads[device] * self._stride) * self._size
        due = self._next_due(first)
        if due >= first + self._size:
            behind = batch_count(
                due // self._size - device, self._stride
            )  # batches of this device that start before `due`
            self._heads[device] = min(behind, self._tails[device])

    def _stolen(self, thief: int) -> int | None:
        """The last batch of the longest queue that allows stealing."""
        open_to_theft = range(len(self._heads)) if self._steal else sorted(self._retired)
        lengths = {d: self._tails[d] - self._heads[d] for d in open_to_theft if d != thief}
        victim = max(lengths, key=lengths.__getitem__, default=None)
        if victim is None or lengths[victim] == 0:
            return None
        self._tails[victim] -= 1
        return victim + self._tails[victim] * self._stride
