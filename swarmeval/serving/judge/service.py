"""The judge behind the API: turns for each client, and the verdicts of a batch as they come. Independent of HTTP."""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

import msgspec

from human_eval_runner import Judge
from swarmeval.errors import SwarmevalError
from swarmeval.in_thread import in_thread
from swarmeval.records import Task, Verdict
from swarmeval.sandbox.toolchains import Toolchain
from swarmeval.serving.judge.errors import QueueFull
from swarmeval.serving.judge.fair_queue import FairQueue
from swarmeval.serving.judge.items import Maxima, Work
from swarmeval.serving.judge.metrics import JudgeMetrics

TURNS_PER_WORKER = 2  # so that a worker that ends a program has the next one at hand
MOST_RETRY_S = 60  # of Retry-After
WEIGHT = 0.05  # of the newest turn in the running mean
SHORT_BODY = 1 << 14  # bytes; reading more takes long enough to leave the event loop for it
FAILED = "the judge failed on this item; see the log of the server"

T = TypeVar("T")

log = logging.getLogger("swarmeval")


class JudgeService:
    """Judges the items of all clients, with a running judge."""

    def __init__(
        self,
        judge: Judge,
        toolchains: Mapping[str, Toolchain],
        maxima: Maxima,
        workers: int,
        most_waiting: int,
    ) -> None:
        """`most_waiting`: items of one client without a turn."""
        self.judge = judge
        self.tasks: Mapping[str, Task] = judge.tasks
        self.toolchains = toolchains
        self.maxima = maxima
        self._extractions = FairQueue(workers)
        self._executions = FairQueue(TURNS_PER_WORKER * workers)
        self.metrics = JudgeMetrics(lambda: self._extractions.waiting + self._executions.waiting)
        self._workers = workers
        self._most_waiting = most_waiting
        self._turn_s = 0.1  # running mean of the time that a program holds its turn

    def check_room(self, client: str, count: int) -> None:
        """Raise QueueFull if `count` more items are too many. A client without waiting items may send any batch."""
        waiting = self._extractions.waiting_of(client) + self._executions.waiting_of(client)
        if waiting and waiting + count > self._most_waiting:
            drained_s = self._turn_s * self._executions.waiting / (TURNS_PER_WORKER * self._workers)
            raise QueueFull(waiting, max(1, min(MOST_RETRY_S, math.ceil(drained_s / 2))))  # by then half has had turns

    async def read(self, body: bytes, client: str, reader: Callable[[], T]) -> T:
        """Read a body, a long one in a thread and in a turn of its client: stated tasks are parsed.

        Raises QueueFull before, and what `reader` raises.
        """
        self.check_room(client, 1)
        if len(body) <= SHORT_BODY:
            return reader()
        async with self._extractions.turn(client):
            return await in_thread(reader)

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncGenerator[None, None]:
        """Wait for a turn to execute a program, and keep it inside the block."""
        loop = asyncio.get_running_loop()
        async with self._executions.turn(client):
            began = loop.time()
            yield
            self._turn_s += WEIGHT * (loop.time() - began - self._turn_s)

    async def verdict(self, work: Work, client: str) -> Verdict:
        """Judge one item, in the turns of its client. Raises SandboxError. Cancellation ends the program at once."""
        extraction, execution = partial(self._extractions.turn, client), partial(self.turn, client)
        handling = replace(work.handling, client=client, extraction_turn=extraction, execution_turn=execution)
        verdict = await self.judge.judge_as(handling, work.task, work.completion)
        self.metrics.verdict(verdict)
        return verdict

    async def lines(self, works: Sequence[Work], client: str) -> AsyncGenerator[bytes, None]:
        """Yield a line of JSON per item, as soon as it is judged. Closing the generator ends the other items."""
        tasks = [asyncio.create_task(self._line(work, client)) for work in works]
        try:
            for line in asyncio.as_completed(tasks):
                yield await line
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _line(self, work: Work, client: str) -> bytes:
        """The line of one item. A failure of the judge has no verdict: it never counts against the program."""
        try:
            return verdict_line(work.item_id, await self.verdict(work, client))
        except SwarmevalError as error:
            reason = str(error)
        except Exception:
            log.exception("an item was not judged")
            reason = FAILED
        self.metrics.failure()
        return msgspec.json.encode({"id": work.item_id, "error": reason}) + b"\n"


def verdict_line(item_id: str | int, verdict: Verdict) -> bytes:
    """One line of the answer to POST /v1/verdicts."""
    fields = {
        "id": item_id,
        "passed": verdict.passed,
        "outcome": verdict.outcome,
        "detail": verdict.detail,
        "note": verdict.note,
        "judge_s": round(verdict.judge_s, 6),
        "unconfirmed": verdict.unconfirmed,
        "shared": verdict.shared,
        **({} if verdict.base is None else {"base": verdict.base}),
    }
    return msgspec.json.encode(fields) + b"\n"
