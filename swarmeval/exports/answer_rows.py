"""One row per answer, for csv and parquet: the columns, their types, and the values. Unmeasured values are None."""

from collections.abc import Iterator
from typing import Any

from swarmeval.exports.exported_run import Answer, ExportedRun
from swarmeval.records import NOT_GENERATED, Completion

COLUMNS: dict[str, type] = {
    "run_id": str, "folder": str, "model": str, "benchmark": str, "agent": int, "agent_name": str, "task": str,
    "sample": int, "outcome": str, "passed": bool, "detail": str, "finish_reason": str, "prompt_tokens": int,
    "output_tokens": int, "computed_tokens": int, "reasoning_tokens": int, "queue_s": float, "ttft_s": float,
    "tpot_s": float, "latency_s": float, "device": str, "attempts": int, "judge_s": float, "finished_at": float,
    "completion": str, "reply": str, "reasoning": str,
}  # fmt: skip


def rows(run: ExportedRun) -> Iterator[dict[str, Any]]:
    """Yield the first answers of a run, task by task. A failed job has the outcome NOT_GENERATED and no `passed`."""
    of_run = {
        "run_id": run.ended.run_id,
        "folder": str(run.folder),
        "model": run.model or None,
        "benchmark": run.benchmark,
    }
    for answer in run.answers():
        yield dict.fromkeys(COLUMNS) | of_run | _values(run, answer)


def _values(run: ExportedRun, of_job: Answer) -> dict[str, Any]:
    job, answer, verdict = of_job
    values: dict[str, Any] = {
        "agent": job.agent_id, "agent_name": run.names.get(job.agent_id), "task": job.task_id, "sample": job.sample,
        "device": answer.device or None,
    }  # fmt: skip
    if verdict is not None:
        values |= {
            "outcome": str(verdict.outcome), "passed": verdict.passed, "detail": verdict.detail,
            "judge_s": verdict.judge_s, "completion": verdict.code,
        }  # fmt: skip
    if not isinstance(answer, Completion):
        return values | {
            "outcome": NOT_GENERATED, "detail": answer.reason, "attempts": answer.attempts,
            "finished_at": answer.finished_at,
        }  # fmt: skip
    values |= {"reply": answer.reply, "reasoning": answer.reasoning or None}
    return values if run.ended.made_elsewhere else values | _measured(answer)


def _measured(answer: Completion) -> dict[str, Any]:
    """The values that exist only where the reply was generated."""
    return {
        "finish_reason": answer.finish_reason or None, "prompt_tokens": answer.prompt_tokens,
        "output_tokens": answer.output_tokens, "computed_tokens": answer.computed_tokens,
        "reasoning_tokens": answer.reasoning_tokens, "queue_s": answer.queue_s, "ttft_s": answer.ttft_s,
        "tpot_s": answer.tpot_s, "latency_s": answer.latency_s, "attempts": answer.attempts,
        "finished_at": answer.finished_at,
    }  # fmt: skip
