"""Records the answers and verdicts of one session in the journal and the ledger, each job once.

Independent of workers and judges. Holds nothing per job except the ledger's bits and the pending repairs.
"""

import logging
import time
from collections import deque

from swarmeval.records import Attempt, Completion, Failure, Verdict
from swarmeval.requests import Reply, Request
from swarmeval.runs.journal import Entry, Journal, SessionStart
from swarmeval.runs.ledger import Ledger
from swarmeval.runs.repair_rounds import called_for
from swarmeval.scheduling.bell import Bell
from swarmeval.scheduling.context import RunContext

log = logging.getLogger("swarmeval")


class Bookkeeper:
    """Writes the journal and the ledger, and queues repairs."""

    def __init__(self, ledger: Ledger, journal: Journal, context: RunContext) -> None:
        self.ledger = ledger
        self.journal = journal
        self.verdict_bell = Bell()  # rings if a recorded verdict may call for a repair
        self.repairs = ledger.jobs.room > ledger.jobs.total  # whether the run allows repairs
        self._context = context
        self._attempts: dict[int, Attempt] = {}  # unanswered repair -> the attempt that it repairs
        self._due_repairs: deque[int] = deque()  # repairs that dispatch has not taken yet
        self._began: float | None = None  # monotonic time at which the first replica was ready

    @property
    def began(self) -> bool:
        return self._began is not None

    def begin(self) -> None:
        """Start the clock of generation. Only the first call has an effect."""
        if self._began is None:
            self._began = time.monotonic()
            self._record(Entry(session=SessionStart(self._context.now())))

    def elapsed_s(self) -> float:
        """Seconds since generation began in this session."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def request(self, k: int) -> Request:
        return self._context.request(k, self._attempts.get(k))

    def all_answered(self) -> bool:
        """Whether every job is answered and no verdict can call for another repair."""
        return not self.ledger.unanswered and not (self.repairs and self.ledger.unjudged)

    def record_reply(self, reply: Reply, device: str, batch_id: int, attempts: int) -> tuple[Completion, int] | None:
        """Journal a reply; return (completion, journal offset), or None if the job already has an answer."""
        completion, offset = self.completion(reply, device, batch_id, attempts), self.journal.length
        return (completion, offset) if self._record(Entry(completion=completion)) else None

    def completion(self, reply: Reply, device: str, batch_id: int, attempts: int) -> Completion:
        """Convert a reply to a completion. A prefill belongs to the reply, or to the thought that it precedes."""
        thought, prefill = self._context.prefill_thought, self._context.prefill
        return Completion(
            job_id=reply.job_id,
            reply=reply.text if reply.reasoning else prefill + reply.text,
            device=device,
            batch_id=batch_id,
            attempts=attempts,
            prompt_tokens=reply.prompt_tokens,
            output_tokens=reply.output_tokens,
            computed_tokens=reply.computed_tokens,
            reasoning=thought + prefill + reply.reasoning if reply.reasoning else thought,
            reasoning_tokens=reply.reasoning_tokens,
            marks=tuple((tokens, end + (0 if reply.reasoning else len(prefill))) for tokens, end in reply.marks),
            queue_s=reply.queue_s,
            ttft_s=reply.ttft_s,
            latency_s=reply.latency_s,
            finish_reason=reply.finish_reason,
            finished_at=self._context.now(),
            elapsed_s=self.elapsed_s(),
            note=reply.note,
        )

    def fail(self, k: int, reason: str, attempts: int, device: str) -> None:
        """Record that a job got no completion."""
        job_id = self.ledger.jobs.job(k).job_id
        failure = Failure(job_id, reason, attempts, device, self._context.now(), self.elapsed_s())
        if self._record(Entry(failure=failure)):
            self._context.note_failure(failure)
        log.warning("%s: no completion after %d attempts (%s)", job_id, attempts, reason)

    def record_verdict(self, completion: Completion, verdict: Verdict) -> None:
        """Journal a verdict, and queue a repair if one is needed and allowed."""
        if not self._record(Entry(verdict=verdict)):
            return
        self._context.note_verdict(completion, verdict)
        if not self.repairs:
            return
        job = self.ledger.repair(verdict)
        if job is not None:
            self._queue_repair(self.ledger.jobs.number(job.job_id), Attempt(completion, verdict))
        self.verdict_bell.ring()

    def queue_earlier_repairs(self) -> None:
        """Queue the unanswered repairs of verdicts from earlier sessions."""
        if self.repairs:
            for k, attempt in called_for(self.journal.path, self.ledger):
                self._queue_repair(k, attempt)

    def take_repairs(self) -> list[int]:
        """Return the repairs queued since the last call."""
        taken = list(self._due_repairs)
        self._due_repairs.clear()
        return taken

    def _queue_repair(self, k: int, attempt: Attempt) -> None:
        if k not in self._attempts:
            self._attempts[k] = attempt
            self._due_repairs.append(k)

    def _record(self, entry: Entry) -> bool:
        """Add an entry to the journal and the ledger; return False if its job already has one of this kind."""
        if not self.ledger.add(entry):
            return False
        self.journal.append(entry)
        answer = entry.completion or entry.failure
        if answer is not None and self._attempts:
            self._attempts.pop(self.ledger.jobs.number(answer.job_id), None)
        return True
