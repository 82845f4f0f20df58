"""The answers of a run as a pandas DataFrame."""

from collections.abc import Iterable, Mapping

import pandas

from swarmeval.records import NOT_GENERATED, Completion, Failure, Verdict, parse_job_id

TEXTS = ("job_id", "reply", "reasoning", "form", "device", "finish_reason")
NUMBERS = (
    "attempts", "prompt_tokens", "output_tokens", "computed_tokens", "reasoning_tokens", "queue_s", "ttft_s", "tpot_s",
    "latency_s", "finished_at",
)  # fmt: skip
OF_VERDICT = ("code", "detail", "note", "judge_s", "unconfirmed", "shared")
COLUMNS = ("agent", "task", "sample", "round", "outcome", "passed", "base", *TEXTS[1:], *NUMBERS, *OF_VERDICT)


def frame(
    completions: Iterable[Completion], failures: Iterable[Failure], verdicts: Mapping[str, Verdict]
) -> pandas.DataFrame:
    """One row per job, indexed by job_id. `verdicts` are keyed by job_id."""
    rows = [_row(completion, verdicts.get(completion.job_id)) for completion in completions]
    rows += [
        {**_key(failure.job_id), "outcome": NOT_GENERATED, "detail": failure.reason, "attempts": failure.attempts,
         "device": failure.device, "finished_at": failure.finished_at}
        for failure in failures
    ]  # fmt: skip
    return pandas.DataFrame(rows, columns=["job_id", *COLUMNS]).set_index("job_id")


def _row(completion: Completion, verdict: Verdict | None) -> dict[str, object]:
    answer = {name: getattr(completion, name) for name in (*TEXTS, *NUMBERS)}
    if verdict is None:
        return {**_key(completion.job_id), **answer}
    judged = {name: getattr(verdict, name) for name in OF_VERDICT}
    base = None if verdict.base is None else str(verdict.base)
    outcome = {"outcome": str(verdict.outcome), "passed": verdict.passed, "base": base}
    return {**_key(completion.job_id), **answer, **judged, **outcome}


def _key(job_id: str) -> dict[str, object]:
    job = parse_job_id(job_id)
    return {"job_id": job_id, "agent": job.agent_id, "task": job.task_id, "sample": job.sample, "round": job.round}
