"""Derives every result file of a run from its journal, in plan order. Measures nothing itself.

Holds two offsets per job and one entry at a time in memory, so the files may be larger than memory.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from swarmeval.files import replaced
from swarmeval.records import NOT_GENERATED, Completion, Failure
from swarmeval.runs.agent_files import json_text, result_line, write_agent
from swarmeval.runs.ledger import Jobs, Ledger
from swarmeval.runs.prefixes import JudgedPrefixes
from swarmeval.runs.results import Results
from swarmeval.runs.tallies import Tallies, task_summary
from swarmeval.scores.costs import solved
from swarmeval.scores.intervals import confidence
from swarmeval.scores.missing import COUNTED_AS, FAIL, WARN, named
from swarmeval.scores.sharing import sharing
from swarmeval.scores.spending import Prices, Spending
from swarmeval.scores.stats import rate, scores

REPAIRS = "repairs.jsonl"  # separate from the agents' files, in which every line is a sample
METRICS = (
    "job_id", "agent", "task", "sample", "device", "batch_id", "attempts", "prompt_tokens", "output_tokens",
    "computed_tokens", "reasoning_tokens", "queue_s", "ttft_s", "tpot_s", "latency_s", "finish_reason", "outcome",
    "judge_s", "finished_at",
)  # fmt: skip


# Newlines occur between the values of a JSON text, never inside its strings.
LIST_OF_NUMBERS = re.compile(r'\[\n([^\[\]{}"]+)\n *\]')


def write(
    folder: Path, journal: Path, ledger: Ledger, facts: Mapping[str, object], prices: Prices | None = None
) -> dict[str, object]:
    """Write all result files and return the contents of score.json, which ends with `facts` (model, benchmark, ...).

    Raises OutputError.
    """
    results = Results(ledger.jobs, journal)
    spending = Spending(prices, ledger.generation_s, ledger.output_tokens, _joules_per_token(facts))
    failed = ledger.jobs.failed_tasks
    with JudgedPrefixes(folder, ledger.jobs) as prefixes:
        tallies = Tallies(ledger.jobs, folder, spending, prefixes)
        with replaced(folder / "metrics.csv") as file:
            _write_metrics(file, results, tallies)
        if ledger.jobs.room > ledger.jobs.total:
            _write_repairs(folder / REPAIRS, results)
        summaries = [write_agent(folder, results, agent, failed, tallies.count) for agent in ledger.jobs.agents]
    with replaced(folder / "agent_summary.json") as file:
        json.dump(summaries, file, indent=2)
    cost = spending.facts(ledger.evaluations, solved(ledger.counts()))
    score = score_of(ledger, summaries, {**tallies.facts(), **cost, **facts}, tallies.undefined())
    tasks = tallies.tasks()
    if failed:
        tasks |= {
            task_id: {**task_summary(Counter()), "pass@1": 0.0, "missing": True} for task_id in ledger.jobs.missing
        }
    with replaced(folder / "task_summary.json") as file:
        json.dump(tasks, file, indent=2)
    with replaced(folder / "score.json") as file:
        file.write(LIST_OF_NUMBERS.sub(_on_one_line, json.dumps(score, indent=2)) + "\n")
    return score


def score_of(
    ledger: Ledger,
    summaries: Sequence[Mapping[str, object]],
    facts: Mapping[str, object],
    undefined: Mapping[str, str],
) -> dict[str, object]:
    """The pooled score of a run. Undefined values are None, with a reason in `undefined`.

    `facts` are further entries, and `undefined` the reasons for those that are None.
    """
    values, reasons = scores(ledger.counts())
    certainty, missing = confidence(ledger.counts(), [summary["pass@1"] for summary in summaries])
    reasons |= missing | dict(undefined)
    seconds, answered = ledger.generation_s, ledger.answered.count
    return {
        **values,
        **certainty,
        "truncation": None,  # from `facts`, beside the score
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


def _on_one_line(found: re.Match[str]) -> str:
    return f"[{' '.join(found[1].split())}]"


def _joules_per_token(facts: Mapping[str, object]) -> float | None:
    """Measured energy above idle per delivered token; None if it was not measured, or was below the noise."""
    energy = facts.get("energy")
    joules = energy.get("joules_per_output_token") if isinstance(energy, Mapping) else None
    return joules if joules and joules > 0 else None


def _write_metrics(file: TextIO, results: Results, tallies: Tallies) -> None:
    """Write one row per job, repairs last, and add all to the tallies."""
    rows = csv.writer(file)
    rows.writerow(METRICS)
    for job, answer, verdict in results.each(iter(range(results.jobs.room))):
        tallies.add(job, answer, verdict)
        key = [job.job_id, job.agent_id, job.task_id, job.sample, answer.device]
        if isinstance(answer, Failure):
            rows.writerow([*key, "", answer.attempts, *[""] * 9, NOT_GENERATED, "", answer.finished_at])
            continue
        rows.writerow([
            *key, answer.batch_id, answer.attempts, answer.prompt_tokens, answer.output_tokens,
            _cell(answer.computed_tokens), _cell(answer.reasoning_tokens), answer.queue_s, answer.ttft_s,
            _cell(answer.tpot_s), answer.latency_s, answer.finish_reason,
            verdict.outcome if verdict else "", verdict.judge_s if verdict else "", answer.finished_at,
        ])  # fmt: skip


def _cell(value: float | None) -> object:
    return "" if value is None else value


def _write_repairs(path: Path, results: Results) -> None:
    """Write one line per judged repair."""
    with replaced(path) as lines:
        for job, answer, verdict in results.each(iter(range(results.jobs.total, results.jobs.room))):
            if isinstance(answer, Completion) and verdict is not None:
                lines.write(json_text({**result_line(job, answer, verdict), "round": job.round}) + "\n")
