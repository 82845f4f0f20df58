"""Finds the answers of one agent to one task in the journal, on demand. Caches nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from swarmeval.records import Completion, Failure, Job, Verdict, parse_job_id
from swarmeval.runs.journal import Entry

MOST = 1000  # limit on the answers of one agent to one task

_decoder = msgspec.json.Decoder(Entry)


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """One job with its completion or failure and its verdict, as far as they exist."""

    job: Job
    completion: Completion | None = None
    failure: Failure | None = None
    verdict: Verdict | None = None


def answers(journal: Path, agent_id: int, task_id: str) -> list[AnswerRecord]:
    """The answers of an agent to a task, by sample and round. Reads the whole journal. Raises OSError."""
    by_job: dict[Job, dict[str, Completion | Failure | Verdict]] = {}
    for job, record in _records(journal, f"{agent_id}/{task_id}/"):
        if (job.agent_id, job.task_id) == (agent_id, task_id) and (job in by_job or len(by_job) < MOST):
            by_job.setdefault(job, {})[type(record).__name__.lower()] = record
    order = sorted(by_job, key=lambda job: (job.sample, job.round))
    return [AnswerRecord(job, **by_job[job]) for job in order]  # type: ignore[arg-type]


def _records(journal: Path, job_id: str) -> Iterator[tuple[Job, Completion | Failure | Verdict]]:
    """Yield the records of jobs whose job_id starts with `job_id`. Decodes only lines that contain this text."""
    begin = msgspec.json.encode(job_id)[:-1]
    with journal.open("rb") as lines:
        for line in lines:
            if begin in line and line.endswith(b"\n"):
                try:
                    entry = _decoder.decode(line)
                    if record := entry.completion or entry.failure or entry.verdict:
                        yield parse_job_id(record.job_id), record
                except (ValueError, RecursionError):  # invalid line or job_id; the panels count these
                    continue
