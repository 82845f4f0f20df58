"""Complete run folders made from given answers, with real plan, journal, ledger and results."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from swarmeval.records import Completion, Failure, Outcome, Verdict
from swarmeval.runs.folder import write_manifest
from swarmeval.runs.journal import NAME, Entry, Journal, SessionStart
from swarmeval.runs.ledger import Ledger
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.result_files import write
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import load

BEGAN = 1_800_000_000.0

Answer = tuple[Completion | Failure, Verdict | None]


def plan_of(tasks: int, number: int, **settings: object) -> tuple[RunConfig, Plan]:
    """Settings and plan for HumanEval's first tasks and `number` agents, or the agents in the settings."""
    values = {"num_agents": number, "humaneval_limit": tasks, "model_id": "example/model", **settings}
    if "agents" in values:
        del values["num_agents"]
    config = RunConfig.model_validate(values)
    return config, Plan(make_agents(config), load("humaneval").tasks[:tasks])


def leave(
    folder: Path,
    config: RunConfig,
    plan: Plan,
    answers: Iterable[Answer],
    finished: bool = True,
    notes: Mapping[str, object] | None = None,
) -> None:
    """Write the folder of a run with these answers, without traces. An unfinished run was killed and has no results."""
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(plan)
    with Journal(folder) as journal:
        journal.append(Entry(session=SessionStart(BEGAN)))
        for answer, verdict in answers:
            made = Entry(completion=answer) if isinstance(answer, Completion) else Entry(failure=answer)
            for entry in (made, *([Entry(verdict=verdict)] if verdict else [])):
                ledger.add(entry)
                journal.append(entry)
    session = {"pid": 1, "started_at": BEGAN, "ended_at": BEGAN + 60 if finished else None, "reason": "finished"}
    loaded = load("humaneval")
    write_manifest(
        folder,
        {
            "run_id": "20270115-080000-abcdef", "fingerprint": "0", "finished": finished, "sessions": [session],
            "config": json.loads(config.model_dump_json(exclude={"wandb_api_key"})),
            "data": loaded.facts() | {"tasks": len(plan.tasks)},
            "agents": [{"id": agent.id, "name": agent.name} for agent in plan.agents],
            "prompts": {"prompt_mode": "chat"},
            "hardware": {"cpu": "a CPU", "usable_cores": 2, "gpus": []},
            **(notes or {}),
        },
    )  # fmt: skip
    if finished:
        facts = {"run_id": "20270115-080000-abcdef", "model_id": config.model_id, "benchmark": "humaneval"}
        write(folder, folder / NAME, ledger, facts)


def answers(texts: tuple[str, ...] = ("a reply",), passes: int = 0) -> list[Answer]:
    """Replies to one task, one per agent; the first `passes` of them pass."""
    return [
        (
            Completion(f"{k}/HumanEval/0/0/0", text, prompt_tokens=9, output_tokens=10 + k, latency_s=1.0 + k,
                       finished_at=BEGAN + 2 * k, elapsed_s=2.0 * k + 1),
            Verdict(f"{k}/HumanEval/0/0/0", Outcome.PASSED if k < passes else Outcome.TAMPERED, text, text, note=text),
        )
        for k, text in enumerate(texts)
    ]  # fmt: skip


def finished_run(folder: Path, given: list[Answer], **settings: object) -> Path:
    """The folder of a finished run of one task with these answers."""
    config, plan = plan_of(1, len(given), **settings)
    leave(folder, config, plan, given)
    return folder
