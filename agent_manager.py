"""The coordinator of a run: plan -> batches -> fleet -> completions -> judge, on one event loop.

Judges completions while generation continues, and publishes the status of the run. It depends on no model, transport
or sandbox. The bookkeeper records results, dispatch drives the workers, and the judge queue drives the judges.
"""

import asyncio
import logging
import os
import time
from collections.abc import Sequence

from swarmeval.records import Status
from swarmeval.runs.audit import Audit
from swarmeval.runs.journal import Journal
from swarmeval.runs.ledger import Ledger
from swarmeval.scheduling.bookkeeper import Bookkeeper
from swarmeval.scheduling.context import RunContext
from swarmeval.scheduling.dispatch import Dispatch
from swarmeval.scheduling.judge_queue import JudgeCall, JudgeQueue
from swarmeval.scheduling.one_at_a_time import OneAtATime
from swarmeval.scheduling.supervisor import BACKOFF_S
from swarmeval.scheduling.time_left import seconds_left
from swarmeval.scores.stats import rate
from swarmeval.settings.run_config import RunConfig
from swarmeval.workers.protocol import Fleet

SYNC_EVERY_S = 5.0  # a power cut loses at most this much work; a killed process loses none
REPORT_EVERY_S = 1.0

log = logging.getLogger("swarmeval")


class Coordinator:
    """One session of a run: generates and judges the answers that its ledger lacks."""

    def __init__(
        self,
        run_id: str,
        config: RunConfig,
        ledger: Ledger,
        journal: Journal,
        judge: JudgeCall,
        context: RunContext,
        backoff_s: Sequence[float] = BACKOFF_S,
        audit: Audit | None = None,
        judge_limit_s: float | None = None,
        judge_again: JudgeCall | None = None,
    ) -> None:
        """`judge_limit_s`: the full time limit of a program, for display.

        `judge_again`: judges the audit's replies and shares no verdict of the run; by default `judge`.
        """
        self._run_id = run_id
        self._config = config
        self._ledger = ledger
        self._journal = journal
        self._judge_again = judge_again or judge
        self._context = context
        self._backoff_s = backoff_s
        self._audit = audit
        self._bookkeeper = Bookkeeper(ledger, journal, context)
        self._judges = JudgeQueue(judge, self._bookkeeper, config.eval_workers, judge_limit_s)
        self._dispatch: Dispatch | None = None
        self._phase = "loading"  # shown as "generating" once the first replica is ready
        self._draining = False
        self._answered_before = ledger.answered.count
        self._tokens_before = ledger.output_tokens
        self._computed_before = ledger.known_computed_tokens, ledger.uncounted

    async def run(self, fleet: Fleet | None) -> bool:
        """Return True if all jobs were answered and judged, False if drained before. Without a fleet, only judge.

        Raises UserError if the run cannot continue. The journal keeps finished work, so the run can be resumed.
        """
        if fleet is None or self._all_generated():
            self._phase = "judging"
        async with asyncio.TaskGroup() as group:
            reporter = group.create_task(self._report())
            self._judges.begin(group)
            if fleet is not None and not self._all_generated() and not self._draining:
                await self._generate(fleet)
            self._phase = "draining" if self._draining else "judging"
            await self._judges.finish()
            reporter.cancel()
        return not self._ledger.unanswered and not self._ledger.unjudged

    def drain(self) -> None:
        """Start no new jobs; run() returns once running jobs are answered and running judgements are done."""
        self._draining = True
        self._judges.drain()
        self._phase = "draining"
        if self._dispatch is not None:
            self._dispatch.drain()

    def status(self, phase: str | None = None, message: str = "") -> Status:
        """The current status of the run."""
        ledger = self._ledger
        # Time spent judging after the end of generation must not lower the rates of generation.
        is_generating = self._phase == "loading" or not self._bookkeeper.began
        elapsed_s = self._bookkeeper.elapsed_s() if is_generating else ledger.session_s
        jobs_per_s = rate(ledger.answered.count - self._answered_before, elapsed_s)
        tokens, computed = self._session_tokens(), self._session_computed_tokens()
        tokens_per_s = rate(tokens, elapsed_s)
        return Status(
            run_id=self._run_id,
            pid=os.getpid(),
            phase=phase or self._shown_phase(),
            updated_at=self._context.now(),
            total_jobs=ledger.planned,
            done_jobs=ledger.answered.count,
            failures=ledger.failures,
            judged=ledger.judged.count,
            passed=ledger.passed,
            elapsed_s=elapsed_s,
            jobs_per_s=jobs_per_s,
            tokens_per_s=tokens_per_s,
            output_tokens=tokens,
            computed_tokens_per_s=None if computed is None else rate(computed, elapsed_s),
            computed_tokens=computed,
            eta_s=self._eta_s(jobs_per_s, tokens_per_s),
            pass_at_1=ledger.pass_at_1(),
            outcomes={str(outcome): count for outcome, count in ledger.outcomes.items()},
            workers=tuple(device.status() for device in self._dispatch.devices) if self._dispatch else (),
            message=message,
        )

    def _shown_phase(self) -> str:
        return "generating" if self._phase == "loading" and self._bookkeeper.began else self._phase

    def _eta_s(self, jobs_per_s: float | None, tokens_per_s: float | None) -> float | None:
        ledger = self._ledger
        if self._phase == "judging":
            return self._judges.left_s()
        if not tokens_per_s:  # servers may not report tokens
            return ledger.unanswered / jobs_per_s if jobs_per_s else None
        devices = self._dispatch.devices if self._dispatch else ()
        decoding = sum(max(0, device.jobs - device.worker.progress.waiting) for device in devices)
        return seconds_left(
            waiting=ledger.unanswered - decoding,
            decoding=decoding,
            finished=ledger.answered.count - ledger.failures,
            finished_tokens=ledger.output_tokens,
            open_tokens=self._session_tokens() - (ledger.output_tokens - self._tokens_before),
            most=self._config.max_new_tokens,
            tokens_per_s=tokens_per_s,
        )

    def _session_tokens(self) -> int:
        """Output tokens of this session, including unfinished answers until a worker restarts."""
        devices = self._dispatch.devices if self._dispatch else ()
        reported = sum(device.worker.progress.output_tokens for device in devices)
        return max(reported, self._ledger.output_tokens - self._tokens_before)

    def _session_computed_tokens(self) -> int | None:
        """Like _session_tokens, for tokens that went through the model; None if a worker or a reply lacks them."""
        progress = [device.worker.progress for device in self._dispatch.devices] if self._dispatch else []
        known, uncounted = self._computed_before
        is_unknown = any(one.output_tokens and one.computed_tokens is None for one in progress)
        reported = [one.computed_tokens for one in progress if one.computed_tokens is not None]
        in_replies = self._ledger.known_computed_tokens - known
        if is_unknown or self._ledger.uncounted > uncounted or not (reported or in_replies):
            return None
        return max(sum(reported), in_replies)

    async def _generate(self, fleet: Fleet) -> None:
        async with fleet:
            self._dispatch = Dispatch(
                self._config, fleet, self._bookkeeper, self._judges, self._context, self._backoff_s
            )
            self._bookkeeper.queue_earlier_repairs()
            await self._dispatch.run()
            if self._audit is not None:
                supervisors = [device.supervisor for device in self._dispatch.devices]
                await self._run_audit(OneAtATime(supervisors, self._context), self._audit)

    def _all_generated(self) -> bool:
        return self._bookkeeper.all_answered() and not (self._audit is not None and self._audit.due)

    async def _run_audit(self, worker: OneAtATime, audit: Audit) -> None:
        """Answer and judge the audit's jobs one at a time, and record them separately from the run."""
        for k in audit.due:
            self._phase = "draining" if self._draining else "auditing"
            reply = None if self._draining else await worker.answer(k)
            if reply is None:
                log.warning("batch audit: ended early, %d jobs left", len(audit.due))
                return
            completion = self._bookkeeper.completion(reply, worker.device, -1, 1)
            audit.keep(completion, await self._judge_again(completion, False))

    async def _report(self) -> None:
        """Publish the status every second, and sync the journal to disk every few seconds."""
        synced_at = time.monotonic()
        while True:
            self._context.publish(self.status())
            if time.monotonic() - synced_at >= SYNC_EVERY_S:
                synced_at = time.monotonic()
                await asyncio.to_thread(self._journal.sync)
            await asyncio.sleep(REPORT_EVERY_S)
