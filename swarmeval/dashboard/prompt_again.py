"""Rebuilds the prompt of an answer from the manifest's settings and the benchmark's file.

A run folder does not store prompts. If one cannot be rebuilt, the returned text gives the reason.
"""

from collections.abc import Mapping
from typing import Any

from swarmeval.errors import UserError
from swarmeval.records import Attempt, Task
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.settings import manifest_settings
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks import catalog
from swarmeval.watch.answers import AnswerRecord


def prompt(manifest: Mapping[str, Any], answers: list[AnswerRecord], answer: AnswerRecord) -> str:
    """The exact prompt of an answer; for an imported reply, the task's prompt. Slow, because it loads the benchmark."""
    try:
        config = manifest_settings.read(manifest.get("config") or {})
        # All tasks of the file: the selection changes no prompt.
        tasks = catalog.load(config.benchmark, config.benchmark_file, config.released).tasks
    except UserError as error:
        return f"(the prompt cannot be shown: {error})"
    answered = next((task for task in tasks if task.task_id == answer.job.task_id), None)
    if answered is None:
        return "(the prompt cannot be shown: the benchmark no longer contains this task)"
    mode = (manifest.get("prompts") or {}).get("prompt_mode")
    prompt_text = _run_prompt(config, tasks, mode, answers, answer)
    return prompt_text or f"(prompt of the task)\n{answered.question or answered.prompt}"


def _run_prompt(
    config: RunConfig, tasks: tuple[Task, ...], mode: str | None, answers: list[AnswerRecord], answer: AnswerRecord
) -> str:
    """The prompt that the run sent; "" for imported replies, or if the attempt to repair is missing."""
    if mode not in ("chat", "completion"):
        return ""
    plan = Plan(make_agents(config), tasks)
    try:
        k = plan.number(answer.job.job_id)
    except KeyError:
        return ""
    before = _before(answers, answer) if answer.job.round else None
    if answer.job.round and before is None:
        return ""
    request = make_request(plan, k, mode, config, before)
    if request.suffix is not None:
        return f"[prefix]\n{request.text}\n[suffix]\n{request.suffix}"
    if request.text is not None:
        return request.text
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in request.messages)


def _before(answers: list[AnswerRecord], answer: AnswerRecord) -> Attempt | None:
    """The answer that this one repairs."""
    for other in answers:
        if (other.job.sample, other.job.round) == (answer.job.sample, answer.job.round - 1):
            return Attempt(other.completion, other.verdict) if other.completion and other.verdict else None
    return None
