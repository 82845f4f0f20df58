"""Exactly-once bookkeeping and running counts of a run: two bits per job, a few numbers per task.

Scores come from round 0 only. Repairs are answered, judged and counted, but do not change a score.

The coordinator adds entries as they happen; a resume adds those of the journal. Reads no files and no clock.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from swarmeval.records import Agent, Completion, Job, Outcome, Task, Verdict, split_job_id
from swarmeval.runs.journal import Entry
from swarmeval.scores.missing import with_failed


class Jobs(Protocol):
    """The numbered jobs of a run: a Plan, or the ListedJobs of imported replies."""

    @property
    def agents(self) -> Sequence[Agent]: ...
    @property
    def tasks(self) -> Sequence[Task]: ...
    @property
    def total(self) -> int: ...  # jobs of round 0
    @property
    def room(self) -> int: ...  # upper bound, possible repairs included
    @property
    def missing(self) -> Sequence[str]: ...  # selected tasks without a job
    @property
    def failed_tasks(self) -> int: ...  # number of missing tasks that count as unsolved
    def job(self, k: int) -> Job: ...
    def number(self, job_id: str) -> int: ...
    def jobs_of_agent(self, agent_id: int) -> Sequence[Sequence[int]]: ...


_NOT_FULL = re.compile(rb"[^\xff]")


class Bits:
    """A fixed-size set of booleans, eight per byte."""

    def __init__(self, size: int) -> None:
        self._bytes = bytearray(-(-size // 8))
        self.count = 0

    def add(self, k: int) -> bool:
        """Set bit k; False if it was already set."""
        byte, mask = k >> 3, 1 << (k & 7)
        if self._bytes[byte] & mask:
            return False
        self._bytes[byte] |= mask
        self.count += 1
        return True

    def __contains__(self, k: int) -> bool:
        return bool(self._bytes[k >> 3] & (1 << (k & 7)))

    def next_missing(self, k: int) -> int:
        """The first unset bit at or after k, which may be past the end. Skips full bytes with one search."""
        while k & 7 and k in self:
            k += 1
        if k & 7:
            return k
        match = _NOT_FULL.search(self._bytes, k >> 3)
        if match is None:
            return max(k, 8 * len(self._bytes))
        k = 8 * match.start()
        while k in self:
            k += 1
        return k


class Ledger:
    """Tracks which jobs are answered and judged, and counts the results."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.planned = jobs.total  # round 0, and the repairs that became due
        self.answered = Bits(jobs.room)  # by a completion or a failure
        self.judged = Bits(jobs.room)
        self.failures = 0
        self._repairs = {agent.id: agent.repairs for agent in jobs.agents}
        self.outcomes: Counter[Outcome] = Counter()
        self.executed = self.shared = 0  # verdicts whose program was executed, or was equal to one; all rounds
        self.output_tokens = 0  # delivered
        self.known_computed_tokens = 0  # of the completions that state them
        self.uncounted = 0  # completions that do not
        self.latency_sum_s = 0.0
        self._task_numbers = {task.task_id: number for number, task in enumerate(jobs.tasks)}
        self._verdicts = [0] * len(jobs.tasks)
        self._passed = [0] * len(jobs.tasks)
        self._past_sessions_s = 0.0
        self.session_s = 0.0  # from the session's start to its last answer

    def add(self, entry: Entry) -> bool:
        """Count an entry. If its job already has one of that kind, change nothing and return False.

        Raises KeyError if the job does not belong to this run.
        """
        if entry.session is not None:
            self._past_sessions_s += self.session_s
            self.session_s = 0.0
            return True
        if entry.verdict is not None:
            return self._add_verdict(entry.verdict)
        answer = entry.completion or entry.failure
        if answer is None or not self.answered.add(self.jobs.number(answer.job_id)):
            return False
        self.session_s = max(self.session_s, answer.elapsed_s)
        if entry.completion is not None:
            self._add_tokens(entry.completion)
            self.latency_sum_s += entry.completion.latency_s
        else:
            self.failures += 1
        return True

    def _add_tokens(self, completion: Completion) -> None:
        self.output_tokens += completion.output_tokens
        if completion.computed_tokens is None:
            self.uncounted += 1
        else:
            self.known_computed_tokens += completion.computed_tokens

    def _add_verdict(self, verdict: Verdict) -> bool:
        if not self.judged.add(self.jobs.number(verdict.job_id)):
            return False
        self.executed += verdict.executed
        self.shared += verdict.shared
        agent_id, task_id, _, round_ = split_job_id(verdict.job_id)
        self.planned += self._calls_for_repair(verdict, agent_id, round_)
        if round_ > 0:
            return True
        self.outcomes[verdict.outcome] += 1
        task = self._task_numbers[task_id]
        self._verdicts[task] += 1
        self._passed[task] += verdict.passed
        return True

    def repair(self, verdict: Verdict) -> Job | None:
        """The repair job that follows a verdict; None if it passed or its agent has no repairs left."""
        agent_id, task_id, sample, round_ = split_job_id(verdict.job_id)
        if not self._calls_for_repair(verdict, agent_id, round_):
            return None
        return Job(agent_id, task_id, sample, round_ + 1)

    def _calls_for_repair(self, verdict: Verdict, agent_id: int, round_: int) -> bool:
        return not verdict.passed and round_ < self._repairs[agent_id]

    @property
    def evaluations(self) -> int:
        """Verdicts of round 0."""
        return sum(self._verdicts)

    @property
    def completions(self) -> int:
        return self.answered.count - self.failures

    @property
    def computed_tokens(self) -> int | None:
        """Output tokens that went through the model; None if a completion does not state them."""
        return None if self.uncounted or not self.completions else self.known_computed_tokens

    @property
    def unanswered(self) -> int:
        return self.planned - self.answered.count

    @property
    def unjudged(self) -> int:
        """Completions without a verdict."""
        return self.completions - self.judged.count

    @property
    def passed(self) -> int:
        return self.outcomes[Outcome.PASSED]

    @property
    def generation_s(self) -> float:
        """Seconds of generation over all sessions, without loading and the time between sessions."""
        return self._past_sessions_s + self.session_s

    def counts(self) -> list[tuple[int, int]]:
        """(verdicts, passed) per task; missing tasks that count as unsolved come last, once there is a verdict."""
        return with_failed(list(zip(self._verdicts, self._passed, strict=True)), self.jobs.failed_tasks)

    def pass_at_1(self) -> float | None:
        """Mean pass rate over the tasks judged so far; None before the first verdict.

        Missing tasks that count as failed are included once all jobs are judged.
        """
        shares = [passed / judged for judged, passed in zip(self._verdicts, self._passed, strict=True) if judged]
        if self.judged.count == self.planned:
            shares += [0.0] * self.jobs.failed_tasks
        return sum(shares) / len(shares) if shares else None
