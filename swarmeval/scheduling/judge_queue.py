"""Queues completions for the judges: from memory soon after journaling, or later from the journal if judges lag behind.

Generation never waits for judges, except if verdicts can call for repairs. Programs that exceed the short limit of
their first try are rerun last, with the full time limit.
"""

import asyncio
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from swarmeval.records import Completion, Verdict, split_job_id
from swarmeval.runs.journal import entries
from swarmeval.scheduling.bookkeeper import Bookkeeper

BACKLOG = 256  # completions held in memory; the rest is read from the journal
LINES_AT_ONCE = 256  # journal lines read before yielding to the event loop
JUDGES_PER_WORKER = 4  # a judge whose program equals a running one waits, and must not leave a worker idle

log = logging.getLogger("swarmeval")

JudgeCall = Callable[[Completion, bool], Awaitable[Verdict]]  # the flag: hurried, as in Judge.judge


class JudgeQueue:
    """Judges every completion in the journal without a verdict, `workers` programs at a time."""

    def __init__(self, judge: JudgeCall, bookkeeper: Bookkeeper, workers: int, limit_s: float | None = None) -> None:
        self._judge = judge
        self._bookkeeper = bookkeeper
        self._journal = bookkeeper.journal
        self._ledger = bookkeeper.ledger
        self._workers = workers
        self._cores = min(workers, len(os.sched_getaffinity(0)))
        self._limit_s = limit_s
        # (completion, whether it comes from the journal); None ends a judge.
        self._queue: asyncio.Queue[tuple[Completion, bool] | None] = asyncio.Queue(BACKLOG)
        self._judges: list[asyncio.Task[None]] = []
        self._unqueued_from: int | None = None  # journal offset of the first completion that was never queued
        self._catching_up: asyncio.Task[None] | None = None  # the task that queues them
        self._slow_programs = 0  # programs that exceeded the limit of their first try
        self._draining = False
        self._since: tuple[float, int] | None = None  # start of judging alone: monotonic time, verdicts by then

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Start the judges, and queue unjudged completions of earlier sessions."""
        self._group = group
        self._judges += (group.create_task(self._judge_queued()) for _ in range(JUDGES_PER_WORKER * self._workers))
        if self._ledger.unjudged:
            self._begin_catching_up(0)

    async def add(self, completion: Completion, offset: int) -> None:
        """Queue a completion that was just journaled at this offset."""
        if self._bookkeeper.repairs:
            await self._queue.put((completion, False))
        elif self._unqueued_from is None and not self._queue.full():
            self._queue.put_nowait((completion, False))
        elif self._unqueued_from is None:
            self._begin_catching_up(offset)

    def drain(self) -> None:
        """Take no more completions from the journal. The next session will judge them."""
        self._draining = True

    async def finish(self) -> None:
        """Return once everything is judged or, after drain(), once the queue is empty. Do not call add() afterwards."""
        self._since = time.monotonic(), self._ledger.judged.count
        if self._catching_up is not None:
            await self._catching_up
        for _ in self._judges:
            await self._queue.put(None)
        await asyncio.gather(*self._judges)
        if self._slow_programs and not self._draining:
            await self._judge_slow()

    def left_s(self) -> float | None:
        """Seconds until everything is judged, at the rate since the end of generation; None if unknown."""
        if self._since is None:
            return None
        began, before = self._since
        done = self._ledger.judged.count - before
        return self._ledger.unjudged * (time.monotonic() - began) / done if done else None

    def _begin_catching_up(self, offset: int) -> None:
        self._unqueued_from = offset
        self._catching_up = self._group.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        """Queue completions from the journal until add() can queue new ones directly."""
        while (start := self._unqueued_from) is not None:
            end = self._journal.length
            async for completion in self._unjudged(start, end):
                if self._draining:
                    return
                await self._queue.put((completion, True))
            # With repairs, add() has queued all completions that arrived in the meantime.
            self._unqueued_from = None if self._bookkeeper.repairs or end == self._journal.length else end

    async def _judge_queued(self) -> None:
        while (waiting := await self._queue.get()) is not None:
            completion, from_journal = waiting
            if from_journal and self._draining:
                continue
            verdict = await self._judge(completion, True)
            if verdict.ran_out and not self._bookkeeper.repairs:
                self._slow_programs += 1
                continue
            if verdict.ran_out:  # its repair cannot wait until all other programs are judged
                verdict = await self._judge(completion, False)
            self._bookkeeper.record_verdict(completion, verdict)

    async def _judge_slow(self) -> None:
        """Rerun slow programs with the full time limit, one per core, after the end of generation.

        Equal replies to a task wait together, because their programs are equal and share a verdict.
        """
        free_cores, room = asyncio.Semaphore(self._cores), asyncio.Semaphore(BACKLOG)
        waiting: dict[tuple[str, str], list[Completion]] = {}  # by task and reply
        self._announce_reruns()
        self._since = time.monotonic(), self._ledger.judged.count

        async def judge_equal(reply: tuple[str, str]) -> None:
            try:
                while waiting[reply]:
                    completion = waiting[reply].pop()
                    self._bookkeeper.record_verdict(completion, await self._judge(completion, False))
                    room.release()
            finally:
                del waiting[reply]
                free_cores.release()

        async with asyncio.TaskGroup() as group:
            async for completion in self._unjudged(0, self._journal.length):
                await room.acquire()
                reply = split_job_id(completion.job_id)[1], completion.reply
                if reply in waiting:
                    waiting[reply].append(completion)
                    continue
                await free_cores.acquire()
                if self._draining:
                    return
                waiting[reply] = [completion]
                group.create_task(judge_equal(reply))

    def _announce_reruns(self) -> None:
        """Log why the end of the run takes long."""
        programs = "1 program is" if self._slow_programs == 1 else f"{self._slow_programs} programs are"
        most = ""
        if self._limit_s is not None:
            most = f" (up to {math.ceil(self._slow_programs / self._cores) * self._limit_s:.0f} s)"
        log.warning("%s being rerun with the full time limit%s", programs, most)

    async def _unjudged(self, start: int, end: int) -> AsyncIterator[Completion]:
        """The unjudged completions between two offsets of the journal. `start` must be the start of a line."""
        for number, (offset, entry) in enumerate(entries(self._journal.path, start)):
            if offset >= end:
                return
            if number % LINES_AT_ONCE == 0:
                await asyncio.sleep(0)  # reading a long journal must not block generation
            completion = entry.completion
            if completion is not None and self._ledger.jobs.number(completion.job_id) not in self._ledger.judged:
                yield completion
