"""Follows a growing journal: each look reads only the new lines and keeps counts, never replies.

Memory does not grow with the number of jobs. Only reads, so any number of followers may run at once.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from swarmeval.records import Outcome, parse_job_id
from swarmeval.runs.journal import NAME
from swarmeval.watch.histogram import LogHistogram
from swarmeval.watch.outcome_grid import OutcomeGrid

MOST_BYTES = 8 << 20  # limit per look; a long journal takes several, and the screen shows the progress


class _SessionLine(msgspec.Struct):
    started_at: float


class _Completion(msgspec.Struct):  # only the counted fields, so that replies are not decoded
    job_id: str
    device: str = ""
    output_tokens: int = 0
    ttft_s: float = 0.0
    latency_s: float = 0.0


class _Failure(msgspec.Struct):
    job_id: str


class _Verdict(msgspec.Struct):
    job_id: str
    outcome: Outcome


class _JournalLine(msgspec.Struct):
    session: _SessionLine | None = None
    completion: _Completion | None = None
    failure: _Failure | None = None
    verdict: _Verdict | None = None


_decoder = msgspec.json.Decoder(_JournalLine)


@dataclass
class JournalTally:
    """Counts from the part of the journal that has been read."""

    grid: OutcomeGrid = field(default_factory=OutcomeGrid)
    latency: LogHistogram = field(default_factory=LogHistogram)
    ttft: LogHistogram = field(default_factory=LogHistogram)
    tokens: dict[str, int] = field(default_factory=dict)  # output tokens per device in this session
    unreadable: int = 0  # invalid lines
    read: int = 0  # bytes read, complete lines only
    size: int = 0  # size of the journal at the last look, in bytes

    def add(self, line: bytes) -> None:
        """Count one line."""
        try:
            entry = _decoder.decode(line)
            if entry.session is not None:
                self.tokens.clear()
            elif entry.completion is not None:
                self._add_completion(entry.completion)
            elif entry.failure is not None:
                self.grid.answer(parse_job_id(entry.failure.job_id), failed=True)
            elif entry.verdict is not None:
                self.grid.verdict(parse_job_id(entry.verdict.job_id), entry.verdict.outcome)
        except (ValueError, RecursionError):  # not JSON, not a journal line, or an invalid job_id
            self.unreadable += 1

    def _add_completion(self, completion: _Completion) -> None:
        self.grid.answer(parse_job_id(completion.job_id), failed=False)
        self.tokens[completion.device] = self.tokens.get(completion.device, 0) + completion.output_tokens
        if completion.latency_s > 0:  # imported replies have no latency
            self.latency.add(completion.latency_s)
            self.ttft.add(completion.ttft_s)


class Follower:
    """Reads a run's journal step by step, and starts over if a different run replaces it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / NAME
        self._of: tuple[str, int] | None = None  # run id and inode
        self.behind = False  # whether the last look left unread lines
        self.tally = JournalTally()

    def look(self, run_id: str, agents: Sequence[int] = ()) -> int:
        """Read new lines, up to MOST_BYTES, and return the number of bytes. A missing file counts as empty.

        `agents` are the run's agents in order, as far as the manifest is available. Raises OSError.
        """
        self.behind = False
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                if self._of != (run_id, stat.st_ino) or stat.st_size < self.tally.read:
                    self._of, self.tally = (run_id, stat.st_ino), JournalTally(OutcomeGrid(agents))
                self.tally.size = stat.st_size
                if stat.st_size == self.tally.read:
                    return 0
                file.seek(self.tally.read)
                data = file.read(MOST_BYTES)
                if not data.endswith(b"\n"):
                    data += file.readline()
                self.behind = file.tell() < stat.st_size
        except FileNotFoundError:
            self._of, self.tally = None, JournalTally()
            return 0
        self.behind = self.tally.read + len(data) < stat.st_size
        whole = data.rfind(b"\n") + 1  # an incomplete last line is read again later
        for line in data[: max(0, whole - 1)].split(b"\n") if whole else ():
            self.tally.add(line)
        self.tally.read += whole
        return len(data)

    def catch_up(self, run_id: str, agents: Sequence[int] = ()) -> None:
        """Read the journal up to its current end. Raises OSError."""
        self.look(run_id, agents)
        end, before = self.tally.size, -1
        while before < self.tally.read < end:
            before = self.tally.read
            self.look(run_id, agents)
