"""Access to the answers and verdicts of a run by job number.

Holds two offsets per job and one entry at a time in memory, so the journal may be larger than memory.
"""

from array import array
from collections.abc import Iterator
from pathlib import Path

from swarmeval.records import Completion, Failure, Job, Verdict
from swarmeval.runs.journal import Entry, JournalReader, entries
from swarmeval.runs.ledger import Jobs


class Results:
    """Access to the answers and verdicts of a run by job number."""

    def __init__(self, jobs: Jobs, journal: Path) -> None:
        """Index the journal. Raises OutputError if it cannot be read."""
        self.jobs = jobs
        self._journal = journal
        self._answers = array("q", [-1]) * jobs.room
        self._verdicts = array("q", [-1]) * jobs.room
        for offset, entry in entries(journal):
            offsets = self._verdicts if entry.verdict else self._answers
            record = entry.verdict or entry.completion or entry.failure
            if record is not None and offsets[k := jobs.number(record.job_id)] < 0:
                offsets[k] = offset

    def each(self, numbers: Iterator[int]) -> Iterator[tuple[Job, Completion | Failure, Verdict | None]]:
        """Yield (job, answer, verdict) for each of these job numbers that has an answer."""
        with JournalReader(self._journal) as reader:
            for k in numbers:
                if self._answers[k] < 0:
                    continue
                answer = _answer(reader.entry(self._answers[k]))
                verdict = reader.entry(self._verdicts[k]).verdict if self._verdicts[k] >= 0 else None
                yield self.jobs.job(k), answer, verdict

    def of_agent(self, agent_id: int) -> Iterator[tuple[Job, Completion | Failure, Verdict | None]]:
        return self.each(k for numbers in self.jobs.jobs_of_agent(agent_id) for k in numbers)


def _answer(entry: Entry) -> Completion | Failure:
    answer = entry.completion or entry.failure
    assert answer is not None  # Results indexes answers only
    return answer
