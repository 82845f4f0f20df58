"""Which batch goes to which device next: round-robin queues, stealing at the tail, requeued jobs first.

Holds counters, not jobs: a device's queue is the batches `device, device + n, device + 2n, ...`, kept as the
numbers of its two ends. Knows no worker and no clock.
"""

from collections import deque
from collections.abc import Callable

from swarmeval.runs.plan import batch, batch_count


class DeviceQueues:
    """The batches that wait, per device."""

    def __init__(self, total: int, batch_size: int, devices: int, steal: bool, next_due: Callable[[int], int]) -> None:
        """`next_due` gives the first job from the given one on that no earlier session answered: none else is handed
        out. It may be past the `total` jobs.
        """
        self._total = total
        self._size = batch_size
        self._stride = devices
        self._steal = steal
        self._next_due = next_due
        self._heads = [0] * devices
        self._tails = [len(range(device, batch_count(total, batch_size), devices)) for device in range(devices)]
        self._returned: deque[int] = deque()  # jobs to be tried again
        self._retired: set[int] = set()

    def take(self, device: int, dry: bool) -> list[int] | None:
        """The unanswered jobs of the next batch for a device, or None when nothing waits for it now.

        A device that says it is dry may get a batch of another's queue.
        """
        if self._returned:
            return self._take_returned()
        while (number := self._next(device, dry)) is not None:
            jobs = [k for k in batch(number, self._total, self._size) if self._next_due(k) == k]
            if jobs:
                return jobs
        return None

    def give_back(self, k: int) -> None:
        """Put a job that was handed out and not answered where any device takes it next."""
        self._returned.append(k)

    def add_device(self) -> None:
        """One more, with the next number and nothing in its queue: it gets what may be taken from others."""
        self._heads.append(0)
        self._tails.append(0)

    def retire(self, device: int) -> None:
        """Let the others have this device's batches, whatever the distribution."""
        self._retired.add(device)

    def _take_returned(self) -> list[int]:
        """Jobs of one batch among those given back, so that a batch id keeps its meaning."""
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
        """Go at once over what an earlier session did: of a million jobs, one by one would hold the event loop up."""
        first = (device + self._heads[device] * self._stride) * self._size
        due = self._next_due(first)
        if due >= first + self._size:
            behind = batch_count(due // self._size - device, self._stride)  # batches of this device that begin before
            self._heads[device] = min(behind, self._tails[device])

    def _stolen(self, thief: int) -> int | None:
        """The last waiting batch of the longest queue that may be taken from."""
        open_to_theft = range(len(self._heads)) if self._steal else sorted(self._retired)
        lengths = {d: self._tails[d] - self._heads[d] for d in open_to_theft if d != thief}
        victim = max(lengths, key=lengths.__getitem__, default=None)
        if victim is None or lengths[victim] == 0:
            return None
        self._tails[victim] -= 1
        return victim + self._tails[victim] * self._stride
