"""Repair rounds: which repairs are due, the attempts they start from, and scores per round."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from swarmeval.records import NOT_GENERATED, Attempt, Completion, Failure, Job, Verdict
from swarmeval.runs.journal import entries
from swarmeval.runs.ledger import Ledger
from swarmeval.scores.intervals import of_counts


def called_for(journal: Path, ledger: Ledger) -> Iterator[tuple[int, Attempt]]:
    """Yield (job number, attempt to repair) for every repair that is due and not answered.

    Raises OutputError if the journal cannot be read.
    """
    due: dict[str, tuple[int, Verdict]] = {}  # keyed by the failed job
    for _, entry in entries(journal):
        if entry.verdict is not None and (job := ledger.repair(entry.verdict)) is not None:
            k = ledger.jobs.number(job.job_id)
            if k not in ledger.answered:
                due[entry.verdict.job_id] = k, entry.verdict
    for _, entry in entries(journal) if due else ():
        if entry.completion is not None and entry.completion.job_id in due:
            k, verdict = due.pop(entry.completion.job_id)
            yield k, Attempt(entry.completion, verdict)


class Rounds:
    """Accumulates the results of each round of a run, job by job."""

    def __init__(self, rounds: int) -> None:
        """`rounds`: the largest possible number of rounds, including the first."""
        self._outcomes: list[Counter[str]] = [Counter() for _ in range(rounds)]
        self._tokens = [0] * rounds
        self._latency_s = [0.0] * rounds
        self._judged: Counter[str] = Counter()  # round 0, per task
        self._passed: list[Counter[str]] = [Counter() for _ in range(rounds)]  # per task

    def add(self, job: Job, answer: Completion | Failure, verdict: Verdict | None) -> None:
        """Count a job of any round."""
        if isinstance(answer, Failure):
            self._outcomes[job.round][NOT_GENERATED] += 1
            return
        self._tokens[job.round] += answer.output_tokens
        self._latency_s[job.round] += answer.latency_s
        if verdict is not None:
            self._outcomes[job.round][str(verdict.outcome)] += 1
            self._passed[job.round][job.task_id] += verdict.passed
            self._judged[job.task_id] += job.round == 0

    def facts(self) -> dict[str, object]:
        """Entries for score.json: per round its jobs, their cost, and pass@1 after that round with its interval.

        Empty if no agent may repair.
        """
        if len(self._outcomes) < 2 or not self._judged:
            return {}
        return {"rounds": [self._round(number) for number in range(len(self._outcomes))]}

    def _round(self, number: int) -> dict[str, object]:
        outcomes = self._outcomes[number]
        counts = [(n, sum(passed[task] for passed in self._passed[: number + 1])) for task, n in self._judged.items()]
        shares = [c / n for n, c in counts if n]
        completions = outcomes.total() - outcomes[NOT_GENERATED]
        return {
            "round": number,
            "pass@1": math.fsum(shares) / len(shares),
            "pass@1_interval": list(of_counts([(n, c) for n, c in counts if n], shares)),
            "jobs": outcomes.total(),
            "outcomes": dict(sorted(outcomes.items())),
            "output_tokens": self._tokens[number],
            "avg_latency_s": self._latency_s[number] / completions if completions else None,
        }
