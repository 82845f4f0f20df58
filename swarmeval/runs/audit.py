"""The audit: jobs answered once more, each alone, and what of their replies, verdicts and speed that changed.

They are journaled apart from the run and never scored. How many is `audit.jobs`.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from swarmeval.records import Completion, Verdict
from swarmeval.runs.journal import Entry, Journal, entries
from swarmeval.runs.ledger import Jobs
from swarmeval.scores.stats import rate

NAME = "audit.jsonl"
SEED = 8  # of the choice: the same jobs in every session


class Audit:
    """The jobs that an audit is to answer again, and its journal."""

    def __init__(self, folder: Path, jobs: Jobs, number: int) -> None:
        """`number` jobs of round 0, or all where there are fewer. Raises OutputError."""
        chosen = random.Random(SEED).sample(range(jobs.total), min(number, jobs.total))
        self._jobs = jobs
        self._journal = Journal(folder, NAME)
        done = {entry.completion.job_id for _, entry in entries(self._journal.path) if entry.completion is not None}
        self._due = [k for k in sorted(chosen) if jobs.job(k).job_id not in done]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()

    @property
    def due(self) -> tuple[int, ...]:
        """The numbers of the jobs that it has no reply to, in the order of the plan."""
        return tuple(self._due)

    def keep(self, completion: Completion, verdict: Verdict) -> None:
        """Journal a reply and its verdict. Raises OutputError."""
        self._journal.append(Entry(verdict=verdict))
        self._journal.append(Entry(completion=completion))  # last: with it the job is done
        self._due.remove(self._jobs.number(completion.job_id))


class AuditFacts:
    """What an audit found, gathered as the jobs of the run come by."""

    def __init__(self, folder: Path) -> None:
        """Of the audit journal in `folder`; of nothing where there is none. Raises OutputError."""
        self._again: dict[str, tuple[Completion, Verdict]] = {}
        self._jobs = 0
        self._replies: list[str] = []
        self._verdicts: list[str] = []
        verdict = None
        for entry in _entries(folder / NAME):
            verdict = entry.verdict or verdict
            if entry.completion is not None and verdict is not None:
                self._again[entry.completion.job_id] = entry.completion, verdict

    def add(self, completion: Completion, verdict: Verdict) -> None:
        """Compare what the run has of a job with what the audit has."""
        if completion.job_id not in self._again:
            return
        audited, audited_verdict = self._again[completion.job_id]
        self._jobs += 1
        if audited.reply != completion.reply:
            self._replies.append(completion.job_id)
        if audited_verdict.outcome is not verdict.outcome:
            self._verdicts.append(completion.job_id)

    def facts(self) -> dict[str, object]:
        """For score.json; nothing without an audit."""
        if not self._jobs:
            return {}
        seconds = sum(completion.latency_s for completion, _ in self._again.values())
        tokens = sum(completion.output_tokens for completion, _ in self._again.values())
        return {
            "batch_audit": {
                "jobs": self._jobs,
                "replies_changed": len(self._replies),
                "verdicts_changed": len(self._verdicts),
                "changed_replies": self._replies,
                "changed_verdicts": self._verdicts,
                "avg_latency_s": seconds / len(self._again),
                "tokens_per_s": rate(tokens, seconds),
            }
        }


def _entries(path: Path) -> Iterator[Entry]:
    if path.exists():
        yield from (entry for _, entry in entries(path))
