"""The audit: regenerates some jobs one by one and compares replies, verdicts and speed with the batched run.

Audited replies have their own journal and are never scored. `audit.jobs` sets their number.
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
SEED = 8  # every session selects the same jobs


class Audit:
    """The jobs that an audit regenerates, and its journal."""

    def __init__(self, folder: Path, jobs: Jobs, number: int) -> None:
        """Select `number` jobs of round 0, or all if there are fewer. Raises OutputError."""
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
        """The numbers of the jobs without an audited reply, in plan order."""
        return tuple(self._due)

    def keep(self, completion: Completion, verdict: Verdict) -> None:
        """Journal a reply and its verdict. Raises OutputError."""
        self._journal.append(Entry(verdict=verdict))
        self._journal.append(Entry(completion=completion))  # last, because it marks the job as done
        self._due.remove(self._jobs.number(completion.job_id))


class AuditFacts:
    """Compares an audit with its run, job by job."""

    def __init__(self, folder: Path) -> None:
        """Read the audit journal in `folder`, if there is one. Raises OutputError."""
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
        """Compare the run's completion and verdict for a job with the audit's."""
        if completion.job_id not in self._again:
            return
        audited, audited_verdict = self._again[completion.job_id]
        self._jobs += 1
        if audited.reply != completion.reply:
            self._replies.append(completion.job_id)
        if audited_verdict.outcome is not verdict.outcome:
            self._verdicts.append(completion.job_id)

    def facts(self) -> dict[str, object]:
        """Entries for score.json; empty without an audit."""
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
