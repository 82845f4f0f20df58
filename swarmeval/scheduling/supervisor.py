"""Starts one worker, restarts it after each death with increasing delays, and retires it after repeated failures."""

import asyncio
import logging
from collections.abc import Sequence

from swarmeval.errors import DeviceError, WorkerDied
from swarmeval.requests import ReplicaInfo
from swarmeval.workers.protocol import Worker

MAX_FRUITLESS_LIVES = 3  # a worker that dies this often in a row without an answer is retired
SUSPECTS_WEIGHT = 0.25  # of a death with suspects in flight, which may be to blame instead of the worker
BACKOFF_S = (1.0, 4.0)  # before the second start and before later ones

log = logging.getLogger("swarmeval")


class Supervisor:
    """Supervises one worker across restarts. A life is the time from one start to a death."""

    def __init__(self, worker: Worker, backoff_s: Sequence[float] = BACKOFF_S) -> None:
        self.worker = worker
        self.state = "waiting"
        self.starts = 0
        self.deaths = 0
        self.last_death: WorkerDied | DeviceError | None = None
        self._fruitless_lives = 0.0  # consecutive lives without an answer, weighted
        self._backoff_s = backoff_s

    @property
    def retired(self) -> bool:
        return self.state == "retired"

    async def start(self) -> ReplicaInfo | None:
        """Load the replica, with retries; None once the worker is retired. May be cancelled at any time.

        Raises UserError for a failure that would recur on any device.
        """
        while self._fruitless_lives < MAX_FRUITLESS_LIVES:
            if self.starts:
                self.state = "restarting"
                await asyncio.sleep(self._backoff_s[min(self.starts, len(self._backoff_s)) - 1])
            self.state = "restarting" if self.starts else "loading"
            self.starts += 1
            try:
                info = await self.worker.start()
            except WorkerDied as death:
                self.record_death(death)
                self._fruitless_lives += 1
            except DeviceError as error:  # the device is unfit: another start would fail as well
                self.record_death(error)
                self._fruitless_lives = MAX_FRUITLESS_LIVES
            else:
                return info
        self.state = "retired"
        log.warning("%s: retired after %d starts (%s)", self.worker.name, self.starts, self.last_death)
        return None

    def record_death(self, death: WorkerDied | DeviceError) -> None:
        """Count a death and remember its reason."""
        log.warning("%s", death)
        self.deaths += 1
        self.last_death = death

    def life_began(self) -> None:
        """Mark the replica as ready for work."""
        self.state = "ready"

    def life_ended(self, answered: bool, weight: float = 1.0) -> None:
        """Count the end of a life that had become ready.

        `answered`: whether the life gave any answer. `weight`: how strongly its end counts against the worker.
        """
        self._fruitless_lives = 0.0 if answered else self._fruitless_lives + weight
