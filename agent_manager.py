"""The coordinator: plan -> batches -> fleet -> completions -> judge, on one event loop.

Journals what is born, lets it be judged while generation goes on, and keeps the books. It knows no model, no
transport and no sandbox, and holds nothing per job but the ledger's bits and the jobs in flight.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from swarmeval.records import Attempt, Completion, Failure, Status
from swarmeval.requests import ReplicaInfo, Reply, Request
from swarmeval.runs.audit import Audit
from swarmeval.runs.journal import Entry, Journal, SessionStart
from swarmeval.runs.ledger import Ledger
from swarmeval.runs.repair_rounds import called_for
from swarmeval.scheduling.dispatch import BACKOFF_S, Dispatch
from swarmeval.scheduling.judge_queue import JudgeCall, Judging
from swarmeval.scheduling.one_at_a_time import Alone
from swarmeval.scores.stats import rate
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.protocol import Fleet

SYNC_EVERY_S = 5.0  # what a power cut may cost; a killed process costs nothing
REPORT_EVERY_S = 1.0

log = logging.getLogger("swarmeval")


@dataclass(frozen=True)
class Hooks:
    """What the coordinator asks of its caller. `publish` must return soon."""

    request: Callable[[int, Attempt | None], Request]  # of a job number and what it repairs; after the first `ready`
    ready: Callable[[str, ReplicaInfo], None]  # a replica is loaded; raises UserError when it does not fit the run
    publish: Callable[[Status], None]  # once a second
    clock: Callable[[], float] = time.time  # Unix time, which may jump: for records only


class Coordinator:
    """One session of a run: answers and judges every job that its ledger does not hold yet."""

    def __init__(
        self,
        run_id: str,
        config: RunConfig,
        ledger: Ledger,
        journal: Journal,
        judge: JudgeCall,
        hooks: Hooks,
        backoff_s: Sequence[float] = BACKOFF_S,
        audit: Audit | None = None,
    ) -> None:
        self._run_id = run_id
        self._config = config
        self._ledger = ledger
        self._journal = journal
        self._judge = judge
        self._hooks = hooks
        self._backoff_s = backoff_s
        self._audit = audit
        self._dispatch: Dispatch | None = None
        self._phase = "loading"
        self._repairs = ledger.jobs.room > ledger.jobs.total  # may any answer be followed by another
        follow_up = self._follow_up if self._repairs else None
        self._judging = Judging(judge, journal, ledger, config.eval_workers, self._record, follow_up)
        self._attempts: dict[int, Attempt] = {}  # that a job called for and not answered is to repair
        self._draining = False
        self._began: float | None = None  # monotonic: when the first replica was ready
        self._answered_before = ledger.answered.count
        self._tokens_before = ledger.output_tokens

    async def run(self, fleet: Fleet | None) -> bool:
        """True when every job is answered and judged, False when drained before. Without a fleet it only judges.

        Raises UserError when the run cannot go on; what was done is in the journal, and the run resumable.
        """
        if fleet is None or self._all_generated():
            self._phase = "judging"
        async with asyncio.TaskGroup() as group:
            reporter = group.create_task(self._report())
            self._judging.begin(group)
            if fleet is not None and not self._all_generated() and not self._draining:
                await self._generate(fleet)
            self._phase = "draining" if self._draining else "judging"
            await self._judging.finish()
            reporter.cancel()
        return not self._ledger.unanswered and not self._ledger.unjudged

    def drain(self) -> None:
        """Begin nothing new; run() returns when what has begun is answered and what judges have at hand is judged."""
        self._draining = True
        self._judging.drain()
        self._phase = "draining"
        if self._dispatch is not None:
            self._dispatch.drain()

    def status(self, phase: str | None = None, message: str = "") -> Status:
        """Where the run stands now."""
        ledger = self._ledger
        # Judging goes on when generation has ended; its time is not generation's.
        is_generating = self._phase in ("loading", "generating") or not self._began
        elapsed_s = self._elapsed_s() if is_generating else ledger.session_s
        jobs_per_s = rate(ledger.answered.count - self._answered_before, elapsed_s)
        return Status(
            run_id=self._run_id,
            pid=os.getpid(),
            phase=phase or self._phase,
            updated_at=self._hooks.clock(),
            total_jobs=ledger.planned,
            done_jobs=ledger.answered.count,
            failures=ledger.failures,
            judged=ledger.judged.count,
            passed=ledger.passed,
            elapsed_s=elapsed_s,
            jobs_per_s=jobs_per_s,
            tokens_per_s=rate(self._session_tokens(), elapsed_s),
            eta_s=self._eta_s(jobs_per_s),
            pass_at_1=ledger.pass_at_1(),
            outcomes={str(outcome): count for outcome, count in ledger.outcomes.items()},
            workers=tuple(device.status() for device in self._dispatch.devices) if self._dispatch else (),
            message=message,
        )

    def _eta_s(self, jobs_per_s: float | None) -> float | None:
        if self._phase == "judging":
            return self._judging.left_s()
        return self._ledger.unanswered / jobs_per_s if jobs_per_s else None

    def _session_tokens(self) -> int:
        """Output tokens of this session, of answers still being written too: what workers say, until one restarts."""
        devices = self._dispatch.devices if self._dispatch else ()
        said = sum(device.worker.progress.output_tokens for device in devices)
        return max(said, self._ledger.output_tokens - self._tokens_before)

    # What Dispatch asks of its Office.

    def next_unanswered(self, k: int) -> int:
        return self._ledger.answered.next_missing(k)

    def all_answered(self) -> bool:
        """And none of the answers may call for another."""
        return not self._ledger.unanswered and not (self._repairs and self._ledger.unjudged)

    def request(self, k: int) -> Request:
        return self._hooks.request(k, self._attempts.get(k))

    def ready(self, device: str, info: ReplicaInfo) -> None:
        self._hooks.ready(device, info)
        if self._began is None:
            self._began = time.monotonic()
            self._phase = "draining" if self._draining else "generating"
            self._record(Entry(session=SessionStart(self._hooks.clock())))

    async def keep(self, reply: Reply, device: str, batch_id: int, attempts: int) -> None:
        """Journal a reply the moment it is born, then let it be judged."""
        completion, offset = self._completion(reply, device, batch_id, attempts), self._journal.length
        if self._record(Entry(completion=completion)):
            await self._judging.add(completion, offset)

    def _completion(self, reply: Reply, device: str, batch_id: int, attempts: int) -> Completion:
        return Completion(
            job_id=reply.job_id,
            reply=reply.text,
            device=device,
            batch_id=batch_id,
            attempts=attempts,
            prompt_tokens=reply.prompt_tokens,
            output_tokens=reply.output_tokens,
            queue_s=reply.queue_s,
            ttft_s=reply.ttft_s,
            latency_s=reply.latency_s,
            finish_reason=reply.finish_reason,
            finished_at=self._hooks.clock(),
            elapsed_s=self._elapsed_s(),
        )

    def fail(self, k: int, reason: str, attempts: int, device: str) -> None:
        job_id = self._ledger.jobs.job(k).job_id
        failure = Failure(job_id, reason, attempts, device, self._hooks.clock(), self._elapsed_s())
        self._record(Entry(failure=failure))
        log.warning("%s: no completion after %d attempts (%s)", job_id, attempts, reason)

    # Its own tasks.

    async def _generate(self, fleet: Fleet) -> None:
        async with fleet:
            self._dispatch = Dispatch(self._ledger.jobs.total, self._config, fleet, self, self._backoff_s)
            if self._repairs:
                for k, attempt in called_for(self._journal.path, self._ledger):
                    self._call_for(k, attempt)
            await self._dispatch.run()
            if self._audit is not None:
                await self._answer_again(Alone(fleet, self._hooks.ready), self._audit)

    def _all_generated(self) -> bool:
        return self.all_answered() and not (self._audit is not None and self._audit.due)

    async def _answer_again(self, alone: Alone, audit: Audit) -> None:
        """Have the audit's jobs answered one by one, judge the replies, and keep them apart."""
        for k in audit.due:
            self._phase = "draining" if self._draining else "auditing"
            reply = None if self._draining else await alone.answer(partial(self._hooks.request, k, None))
            if reply is None:
                log.warning("batch audit: ends early, %d jobs are left", len(audit.due))
                return
            completion = self._completion(reply, alone.device, -1, 1)
            audit.keep(completion, await self._judge(completion, False))

    def _follow_up(self, attempt: Attempt) -> None:
        """Have a failed attempt repaired, where that may be."""
        job = self._ledger.repair(attempt.verdict)
        if job is not None:
            self._call_for(self._ledger.jobs.number(job.job_id), attempt)
        elif self._dispatch is not None:
            self._dispatch.wake()

    def _call_for(self, k: int, attempt: Attempt) -> None:
        if self._dispatch is not None and k not in self._attempts:
            self._attempts[k] = attempt
            self._dispatch.add(k)

    async def _report(self) -> None:
        """Publish the status every second, and have the journal on disk every few."""
        synced_at = time.monotonic()
        while True:
            self._hooks.publish(self.status())
            if time.monotonic() - synced_at >= SYNC_EVERY_S:
                synced_at = time.monotonic()
                await asyncio.to_thread(self._journal.sync)
            await asyncio.sleep(REPORT_EVERY_S)

    def _record(self, entry: Entry) -> bool:
        """Into the journal and the ledger, unless its job has such an entry already."""
        if not self._ledger.add(entry):
            return False
        self._journal.append(entry)
        answer = entry.completion or entry.failure
        if answer is not None and self._attempts:
            self._attempts.pop(self._ledger.jobs.number(answer.job_id), None)
        return True

    def _elapsed_s(self) -> float:
        return 0.0 if self._began is None else time.monotonic() - self._began
