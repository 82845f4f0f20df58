"""Index of a run's journal for the report: counts, timings, and the location of each answer.

Works on the journal of any run or `score`, finished or not. Memory is bounded for runs of any size: counts per
task, a sample of timings, and the locations of the answers that a page can show.
"""

import random
from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarmeval.errors import OutputError
from swarmeval.records import NOT_GENERATED, Completion, Job, parse_job_id
from swarmeval.runs.journal import NAME as JOURNAL
from swarmeval.runs.journal import Entry, entries

MOST_CELLS = 20_000  # cells of the map of tasks and agents
MOST_LOCATIONS = 100_000  # answers whose locations are kept
MOST_TIMINGS = 20_000
SEED = 11  # for the sample of timings

Ends = tuple[int, int]  # (replies that say how they ended, replies that the limit on tokens cut)


@dataclass(slots=True)
class AnswerLocation:
    """Byte offsets of an answer and its verdict in the journal; -1 if missing."""

    job: Job
    outcome: str  # "" if there is no verdict
    answer_at: int
    verdict_at: int = -1
    size: int = 0  # characters of both texts
    thought: int = 0  # characters of the thought before the reply


@dataclass(slots=True)
class Timings:
    """Timing columns of equal length, one row per answer: all answers, or a sample."""

    latency_s: "array[float]" = field(default_factory=lambda: array("d"))
    input_tokens: "array[float]" = field(default_factory=lambda: array("d"))
    output_tokens: "array[float]" = field(default_factory=lambda: array("d"))
    finished_at: "array[float]" = field(default_factory=lambda: array("d"))
    population: int = 0  # answers that the sample was drawn from

    def add(self, answer: Completion, chance: random.Random) -> None:
        """Add an answer by reservoir sampling, so that every answer is kept with equal probability."""
        self.population += 1
        row = (answer.latency_s, float(answer.prompt_tokens), float(answer.output_tokens), answer.finished_at)
        columns = (self.latency_s, self.input_tokens, self.output_tokens, self.finished_at)
        if len(self.latency_s) < MOST_TIMINGS:
            for column, value in zip(columns, row, strict=True):
                column.append(value)
        elif (place := chance.randrange(self.population)) < MOST_TIMINGS:
            for column, value in zip(columns, row, strict=True):
                column[place] = value


class AnswerIndex:
    """The answers of one run."""

    def __init__(self, folder: Path, tasks: int) -> None:
        """`tasks`: the number of tasks, as far as known. Raises OutputError if the journal cannot be read."""
        self.path = folder / JOURNAL
        self.counts: dict[str, tuple[int, int]] = {}  # per task: (verdicts, passes) of round 0
        self.outcomes: Counter[str] = Counter()  # of round 0
        self.ends_of_tasks: dict[str, Ends] = {}  # of round 0, like those of agents
        self.ends_of_agents: dict[int, Ends] = {}
        self.failures = self.answered = self.judged = self.passes = 0  # of all rounds
        self.agents: set[int] = set()
        self.timings = Timings()
        self.locations: dict[str, AnswerLocation] = {}
        self._agents_most = max(1, MOST_CELLS // max(1, tasks))
        self._mapped: set[int] = set()  # agents in the map: the first ones to answer
        self.not_shown = 0  # answers without a stored location
        chance = random.Random(SEED)
        for offset, entry in entries(self.path):
            try:
                self._add(offset, entry, chance)
            except ValueError as error:
                raise OutputError(f"{self.path}: contains an invalid job ({error}); start over with --fresh") from None

    def _add(self, offset: int, entry: Entry, chance: random.Random) -> None:
        answer = entry.completion or entry.failure
        if answer is not None:
            job = parse_job_id(answer.job_id)
            self.answered += 1
            self.agents.add(job.agent_id)
            if len(self._mapped) < self._agents_most:
                self._mapped.add(job.agent_id)
            self.counts.setdefault(job.task_id, (0, 0))
            size = len(entry.completion.reply) if entry.completion else 0
            if entry.completion is not None:
                self.timings.add(entry.completion, chance)
                if job.round == 0 and entry.completion.finish_reason:
                    _count(self.ends_of_tasks, job.task_id, entry.completion.cut)
                    _count(self.ends_of_agents, job.agent_id, entry.completion.cut)
            else:
                self.failures += 1
                self.outcomes[NOT_GENERATED] += job.round == 0
            if job.agent_id in self._mapped and len(self.locations) < MOST_LOCATIONS:
                outcome = NOT_GENERATED if entry.failure else ""
                thought = len(entry.completion.reasoning) if entry.completion else 0
                self.locations[answer.job_id] = AnswerLocation(job, outcome, offset, size=size, thought=thought)
            else:
                self.not_shown += 1
        elif entry.verdict is not None:
            self.judged += 1
            self.passes += entry.verdict.passed
            job = parse_job_id(entry.verdict.job_id)
            if job.round == 0:
                judged, passed = self.counts.get(job.task_id, (0, 0))
                self.counts[job.task_id] = judged + 1, passed + entry.verdict.passed
                self.outcomes[str(entry.verdict.outcome)] += 1
            if (place := self.locations.get(entry.verdict.job_id)) is not None:
                place.outcome, place.verdict_at = str(entry.verdict.outcome), offset
                place.size += len(entry.verdict.code)

    @property
    def evaluations(self) -> int:
        return self.outcomes.total() - self.outcomes[NOT_GENERATED]


def _count(ends: dict[Any, Ends], key: str | int, cut: bool) -> None:
    replies, cut_ones = ends.get(key, (0, 0))
    ends[key] = replies + 1, cut_ones + cut
