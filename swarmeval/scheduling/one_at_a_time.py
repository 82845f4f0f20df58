"""Runs one request at a time on a single worker, and starts the worker if necessary."""

import logging
from collections.abc import Sequence

from msgspec.structs import replace

from swarmeval.errors import WorkerDied
from swarmeval.requests import Reply
from swarmeval.scheduling.context import RunContext
from swarmeval.scheduling.supervisor import Supervisor

TRIES = 3

log = logging.getLogger("swarmeval")


class OneAtATime:
    """Answers jobs one at a time on one worker, without shared tokens. Requires an otherwise idle fleet."""

    def __init__(self, supervisors: Sequence[Supervisor], context: RunContext) -> None:
        running = [supervisor for supervisor in supervisors if supervisor.worker.running]
        self._supervisor = (running or supervisors)[0]
        self._context = context

    @property
    def device(self) -> str:
        return self._supervisor.worker.name

    async def answer(self, k: int) -> Reply | None:
        """The reply to job number `k`; None after a few failed tries."""
        worker = self._supervisor.worker
        for _ in range(TRIES):
            if not worker.running:
                info = await self._supervisor.start()
                if info is None:
                    return None
                self._context.replica_ready(worker.name, info)
                self._supervisor.life_began()
            try:
                async for answer in worker.generate([replace(self._context.request(k, None), share=False)]):
                    if isinstance(answer, Reply):
                        return answer
                    log.warning("%s: %s", answer.job_id, answer.reason)
            except WorkerDied as death:
                self._supervisor.record_death(death)
        return None
