"""What an agent was asked: its prompt, made again from the manifest's settings and the benchmark's file.

The run folder does not hold prompts. Where they cannot be made, that is said and why.
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
    """The very prompt of a run's answer; of a reply made elsewhere, the task's. Loads the benchmark: slow."""
    try:
        config = manifest_settings.read(manifest.get("config") or {})
        tasks = catalog.load(config.benchmark, config.benchmark_file).tasks  # all: which were chosen changes no prompt
    except UserError as error:
        return f"(the prompt cannot be shown: {error})"
    answered = next((task for task in tasks if task.task_id == answer.job.task_id), None)
    if answered is None:
        return "(the prompt cannot be shown: the benchmark has no such task any more)"
    mode = (manifest.get("prompts") or {}).get("prompt_mode")
    return _run_prompt(config, tasks, mode, answers, answer) or f"(the task's)\n{answered.question or answered.prompt}"


def _run_prompt(
    config: RunConfig, tasks: tuple[Task, ...], mode: str | None, answers: list[AnswerRecord], answer: AnswerRecord
) -> str:
    """ "" where the run asked nobody, or what an answer repairs is not to be found."""
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
    if request.text is not None:
        return request.text
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in request.messages)


def _before(answers: list[AnswerRecord], answer: AnswerRecord) -> Attempt | None:
    """The answer that this one repairs."""
    for other in answers:
        if (other.job.sample, other.job.round) == (answer.job.sample, answer.job.round - 1):
            return Attempt(other.completion, other.verdict) if other.completion and other.verdict else None
    return None
