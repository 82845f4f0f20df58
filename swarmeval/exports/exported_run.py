"""A finished run as exports read it: its scores, settings and tasks, and its answers task by task."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from swarmeval.errors import DataError, UserError
from swarmeval.records import Completion, Failure, Job, Outcome, Task, Verdict, split_job_id
from swarmeval.runs import finished_run
from swarmeval.runs.finished_run import EndedRun
from swarmeval.runs.folder import Manifest, read_manifest
from swarmeval.runs.journal import NAME as JOURNAL
from swarmeval.runs.journal import JournalReader, entries
from swarmeval.scores.stats import KS
from swarmeval.tasks.catalog import load
from swarmeval.tasks.shown import program_start

Answer = tuple[Job, Completion | Failure, Verdict | None]

NO_VERDICT = -1


class AnswerPlaces:
    """Places of the first answers to each task, and of their verdicts, in the journal. Keeps offsets, not texts."""

    def __init__(self, journal: Path) -> None:
        """Index the journal. Raises OutputError if it cannot be read."""
        self._journal = journal
        self._places: dict[str, dict[tuple[int, int], tuple[int, int]]] = {}
        for offset, entry in entries(journal):
            record = entry.verdict or entry.completion or entry.failure
            if record is None:
                continue
            agent, task_id, sample, round_ = split_job_id(record.job_id)
            if round_:
                continue  # scores count the first answers
            places = self._places.setdefault(task_id, {})
            answer_at, verdict_at = places.get((agent, sample), (offset, NO_VERDICT))
            if entry.verdict is not None and verdict_at == NO_VERDICT:
                verdict_at = offset
            places[agent, sample] = answer_at, verdict_at

    def of_task(self, task_id: str) -> Iterator[Answer]:
        """Yield (job, answer, verdict) by agent and sample."""
        with JournalReader(self._journal) as reader:
            for (agent, sample), (answer_at, verdict_at) in sorted(self._places.get(task_id, {}).items()):
                entry = reader.entry(answer_at)
                answer = entry.completion or entry.failure
                assert answer is not None  # the journal gets an answer before its verdict
                verdict = reader.entry(verdict_at).verdict if verdict_at != NO_VERDICT else None
                yield Job(agent, task_id, sample), answer, verdict


@dataclass(frozen=True)
class ExportedRun:
    """One finished run."""

    ended: EndedRun
    manifest: Manifest
    summary: Mapping[str, Mapping[str, Any]]  # task_summary.json
    model: str  # "" for imported replies of an unnamed model

    @property
    def folder(self) -> Path:
        return self.ended.folder

    @property
    def score(self) -> Mapping[str, Any]:
        return self.ended.score

    @property
    def benchmark(self) -> str:
        return str(self.score["benchmark"])

    @property
    def version(self) -> str:
        """The version of Swarmeval that judged it."""
        return str(self.manifest.get("versions", {}).get("swarmeval", "unknown"))

    @property
    def began(self) -> datetime:
        """The start of its first session."""
        sessions = self.manifest.get("sessions") or [{}]
        return datetime.fromtimestamp(sessions[0].get("started_at", 0.0), UTC)

    @property
    def tasks_in_all(self) -> int | None:
        """The number of tasks in the benchmark; None if an old manifest does not have it."""
        found: int | None = self.manifest.get("data", {}).get("tasks_in_all")
        return found

    @property
    def is_whole(self) -> bool:
        """Whether the score covers every task of the benchmark, with a verdict on every answer."""
        return not self.score.get("partial") and self.score["total"] == self.tasks_in_all

    @property
    def defined(self) -> tuple[int, ...]:
        """Each k for which the run has a pass@k."""
        return tuple(k for k in KS if self.score.get(f"pass@{k}") is not None)

    def setting(self, key: str) -> Any:
        """A setting of generation that held for all agents; None if some had their own, or if it is not known."""
        if any(agent.get(key) is not None for agent in self.manifest.get("agents", [])):
            return None
        return None if self.ended.made_elsewhere else self.ended.config.get(key)

    @cached_property
    def names(self) -> Mapping[int, str | None]:
        """The profile of each agent; None if it has no name."""
        return {agent["id"]: agent.get("name") for agent in self.manifest.get("agents", [])}

    @cached_property
    def places(self) -> AnswerPlaces:
        return AnswerPlaces(self.folder / JOURNAL)

    @cached_property
    def tasks(self) -> Mapping[str, Task]:
        """The tasks of the run. Raises DataError if their texts are not available."""
        config, data = self.manifest.get("config", {}), self.manifest.get("data", {})
        needed = f"{self.folder}: this format contains the prompts of the tasks"
        try:
            found = load(str(config.get("benchmark")), config.get("benchmark_file"), config.get("released"))
        except UserError as error:
            raise DataError(f"{needed}; {error}") from None
        if found.dataset.sha256 != data.get("sha256"):
            raise DataError(f"{needed}, and the data of {found.name} have changed since the run; restore them")
        tasks = {task.task_id: task for task in found.tasks}
        return {task_id: tasks[task_id] for task_id in self.summary}

    def answers(self) -> Iterator[Answer]:
        """Yield every first answer, task by task."""
        for task_id in self.summary:
            yield from self.places.of_task(task_id)


def read(folder: Path, model: str | None = None) -> ExportedRun:
    """Read a run folder. `model` replaces the name of its model. Raises DataError or OutputError."""
    ended, manifest = finished_run.read(folder), read_manifest(folder)
    assert manifest is not None  # else finished_run.read raises
    if not manifest.get("finished"):
        raise DataError(f"{folder}: the run is not finished; finish it first")
    summary = json.loads((folder / "task_summary.json").read_text(encoding="utf-8"))
    return ExportedRun(ended, manifest, summary, model or ended.score.get("model_id") or "")


def program(task: Task, verdict: Verdict) -> str:
    """The judged program without its tests; "" if the reply contained no code."""
    if verdict.outcome is Outcome.EMPTY:
        return ""
    return f"{program_start(task)}{verdict.code}{'' if task.executed is not None else task.ending}"


def asked(task: Task) -> str:
    """The text of a task as a model gets it, before the run's own instructions and chat template."""
    return task.question or task.prompt
