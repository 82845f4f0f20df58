"""One answer in the instance-level schema of Every Eval Ever 0.3.0 (instance_level_eval.schema.json)."""

from typing import Any

from swarmeval.exports.exported_run import asked
from swarmeval.records import Completion, Job, Task, Verdict

SCHEMA = "0.3.0"


def instance(task: Task, job: Job, answer: Completion, verdict: Verdict, made_elsewhere: bool) -> dict[str, Any]:
    """The fields of one answer, without those that name its run. Tokens and times exist only if they were measured."""
    output: dict[str, Any] = {"raw": [answer.reply]}
    if answer.reasoning:
        output["reasoning_trace"] = [answer.reasoning]
    return {
        "sample_id": job.task_id,
        "interaction_type": "single_turn",
        "input": {"raw": asked(task), "reference": [task.reference] if task.reference else []},
        "output": output,
        "answer_attribution": [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": verdict.code,
                "extraction_method": verdict.note or "unknown",
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": float(verdict.passed), "is_correct": verdict.passed},
        **({} if made_elsewhere else _measured(answer)),
        "metadata": {
            "job_id": job.job_id,
            "agent": str(job.agent_id),
            "sample": str(job.sample),
            "outcome": str(verdict.outcome),
            **({"detail": verdict.detail} if verdict.detail else {}),
        },
    }


def _measured(answer: Completion) -> dict[str, Any]:
    tokens: dict[str, Any] = {
        "input_tokens": answer.prompt_tokens,
        "output_tokens": answer.output_tokens,
        "total_tokens": answer.prompt_tokens + answer.output_tokens,
    }
    if answer.reasoning_tokens is not None:
        tokens["reasoning_tokens"] = answer.reasoning_tokens
    return {
        "token_usage": tokens,
        "performance": {
            "latency_ms": 1000 * answer.latency_s,
            "time_to_first_token_ms": 1000 * answer.ttft_s,
            "generation_time_ms": 1000 * (answer.latency_s - answer.queue_s),
        },
    }
