"""Verdicts on prefixes of replies, in a journal of their own: each reply as if shorter limits on tokens had cut it."""

from array import array
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from swarmeval.records import Outcome
from swarmeval.runs.journal import Entry, Journal, JournalReader, PrefixVerdicts, entries
from swarmeval.runs.ledger import Bits, Jobs

NAME = "prefixes.jsonl"


class PrefixStore:
    """The journal of judged prefixes, open for appending."""

    def __init__(self, folder: Path, jobs: Jobs) -> None:
        """Read which jobs are done. Raises OutputError."""
        self._journal = Journal(folder, NAME)
        self._jobs = jobs
        self._done = Bits(jobs.room)
        for _, entry in entries(self._journal.path):
            if entry.prefixes is not None:
                self._done.add(jobs.number(entry.prefixes.job_id))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()

    def is_done(self, job_id: str) -> bool:
        return self._jobs.number(job_id) in self._done

    def keep(self, verdicts: PrefixVerdicts) -> None:
        """Journal the verdicts on all prefixes of one reply. Raises OutputError."""
        self._journal.append(Entry(prefixes=verdicts))
        self._done.add(self._jobs.number(verdicts.job_id))


class JudgedPrefixes:
    """Looks up the verdicts on prefixes by job. Holds one offset per job in memory."""

    def __init__(self, folder: Path, jobs: Jobs) -> None:
        """Index the journal in `folder`, if there is one. Raises OutputError."""
        path = folder / NAME
        self._jobs = jobs
        self._reader = JournalReader(path) if path.exists() else None
        self._offsets = array("q", [-1]) * (jobs.room if self._reader else 0)
        for offset, entry in entries(path) if self._reader else ():
            if entry.prefixes is not None:
                self._offsets[jobs.number(entry.prefixes.job_id)] = offset

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.__exit__(kind, error, trace)

    @property
    def were_wanted(self) -> bool:
        return self._reader is not None

    def of(self, job_id: str) -> Mapping[int, Outcome]:
        """Map limits on tokens to the outcome of the prefix up to there; empty if none was judged."""
        if self._reader is None or (offset := self._offsets[self._jobs.number(job_id)]) < 0:
            return {}
        prefixes = self._reader.entry(offset).prefixes
        assert prefixes is not None  # only such entries are indexed
        return dict(prefixes.outcomes)
