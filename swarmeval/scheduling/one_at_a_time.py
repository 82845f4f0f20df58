"""One worker that answers one request at a time, with nothing beside it; started where it does not run."""

import logging
from collections.abc import Callable

from swarmeval.errors import DeviceError, WorkerDied
from swarmeval.requests import ReplicaInfo, Reply, Request
from swarmeval.workers.protocol import Fleet

TRIES = 3

log = logging.getLogger("swarmeval")


class Alone:
    """Of a fleet that has nothing else to do."""

    def __init__(self, fleet: Fleet, ready: Callable[[str, ReplicaInfo], None]) -> None:
        """`ready` is told of every replica that this starts."""
        running = [worker for worker in fleet.workers if worker.running]
        self._worker = (running or fleet.workers)[0]
        self._ready = ready

    @property
    def device(self) -> str:
        return self._worker.name

    async def answer(self, request: Callable[[], Request]) -> Reply | None:
        """The reply; None when a few tries gave none. `request` is called when a replica is loaded."""
        for _ in range(TRIES):
            try:
                if not self._worker.running:
                    self._ready(self._worker.name, await self._worker.start())
                async for answer in self._worker.generate([request()]):
                    if isinstance(answer, Reply):
                        return answer
                    log.warning("%s: %s", answer.job_id, answer.reason)
            except (WorkerDied, DeviceError) as error:
                log.warning("%s", error)
        return None
