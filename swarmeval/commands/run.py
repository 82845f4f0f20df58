"""`python main.py`: the main job. Wires config, tasks, fleet, judge, watchers and results together."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from agent_manager import Hooks
from swarmeval.commands.beside import Beside, check_terminal
from swarmeval.commands.output import say
from swarmeval.errors import ConfigError
from swarmeval.monitor.host import hardware
from swarmeval.monitor.tracing.export import Tracer
from swarmeval.monitor.tracking.tracker import make_tracker
from swarmeval.monitor.tracking.wandb_login import check_login
from swarmeval.records import Attempt, Status
from swarmeval.requests import ReplicaInfo, Request
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import make_request
from swarmeval.session.fleet_choice import choose
from swarmeval.session.run_record import OpenRun, opened
from swarmeval.session.session import carry_out
from swarmeval.session.watchers import Watching
from swarmeval.settings import loading
from swarmeval.settings.load_levels import TESTGEN
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import HUMANEVAL, chosen
from swarmeval.watch import status as status_file
from swarmeval.watch.logs import shown
from swarmeval.watch.progress import Progress

FLAGS = {
    "num_tasks": "humaneval_limit",
    "num_agents": "num_agents",
    "benchmark": "benchmark",
    "output_dir": "output_dir",
    "trace": "trace",
}

# What the same config may change from run to run: which rows share a batch depends on when jobs arrive.
UP_TO = "up to floating-point effects of which rows share a batch; sampled replies can differ throughout"
SERVERS = "as far as the servers heed seeds and batch alike"
GROUPED = "not: jobs shared requests (endpoint_samples: auto), and which did depends on when they arrived"
STEADY = "exactly, on machines of one kind, whatever the rows, the workers and the order of arrival"


def run(options: argparse.Namespace) -> int:
    """Run or resume what the flags ask for; gives the exit code. Raises UserError."""
    config = loading.load(options.config, loading.from_flags(vars(options), FLAGS))
    if options.dashboard:
        if config.benchmark == TESTGEN:
            raise ConfigError("--dashboard shows runs that are scored; leave it out with benchmark: testgen")
        check_terminal()
    for warning in config.warnings():
        print(f"swarmeval: {warning}", file=sys.stderr)
    check_login(config, os.environ)  # before anything is moved or made
    if config.benchmark == TESTGEN:
        from swarmeval.commands.testgen import testgen

        return testgen(config)
    benchmark = chosen(config)
    if config.benchmark != HUMANEVAL and config.task_limit() and config.humaneval_limit < benchmark.in_all:
        said = f"the first {config.humaneval_limit} of {benchmark.in_all} tasks of {config.benchmark}"
        print(f"swarmeval: humaneval_limit: {said}", file=sys.stderr)  # it may be left from a config for HumanEval
    chosen_fleet = choose(config)
    plan = Plan(make_agents(config), benchmark.tasks)
    data = benchmark.facts()
    with (
        opened(config, plan, {**config.measured(), "data": data}, options.fresh) as record,
        Progress(plan.total, tenant=Beside(record.folder) if options.dashboard else None) as progress,
        shown(progress.note, config.verbose),
    ):
        record.note(
            data=data,
            hardware=hardware(),
            agents=[asdict(agent) for agent in plan.agents],
            task_ids=[task.task_id for task in plan.tasks],
            **chosen_fleet.facts(),
        )
        tracer = Tracer(record.folder, len(record.manifest["sessions"]) + 1) if config.trace else None
        fleet = chosen_fleet.make(tracer)
        tracker = make_tracker(config, record.folder, record.run_id, record.manifest)
        watching = Watching(config, record, fleet, chosen_fleet.here, tracker)
        desk = _Desk(config, plan, record, progress, watching, tracer, chosen_fleet.facts)
        hooks = Hooks(request=desk.request, ready=desk.ready, publish=desk.publish)
        score: dict[str, object] = {}
        try:
            with watching:
                ending = carry_out(
                    config,
                    record,
                    watching.fleet,
                    hooks,
                    lambda: {
                        "model_id": chosen_fleet.model,
                        "benchmark": config.benchmark,
                        "devices": len(fleet.workers),
                        **watching.facts(record.ledger),
                    },
                    watching.inside,
                    tracer,
                )
            score = ending.score
        finally:
            tracker.finish(score)
    say(ending.summary)  # below the bar, which is closed now
    return ending.exit_code


class _Desk:
    """Answers the coordinator's questions with what run knows: prompts, manifest, screen, watchers."""

    def __init__(
        self,
        config: RunConfig,
        plan: Plan,
        record: OpenRun,
        progress: Progress,
        watching: Watching,
        tracer: Tracer | None,
        facts: Callable[[], Mapping[str, object]],
    ) -> None:
        self._config = config
        self._plan = plan
        self._record = record
        self._progress = progress
        self._watching = watching
        self._tracer = tracer
        self._facts = facts
        self._mode = ""

    def ready(self, device: str, info: ReplicaInfo) -> None:
        """Write down what was loaded. Raises ConfigError when it is not what this run began with."""
        asked = self._config.prompt_mode
        self._mode = asked if asked != "auto" else "chat" if info.takes_chat else "completion"
        if self._mode == "chat" and not info.takes_chat:
            raise ConfigError(f"prompt_mode is 'chat' but {info.model} has no chat template; use completion or auto")
        made_with = {"prompt_mode": self._mode, "chat_template_sha256": info.chat_template_sha256}
        before = self._record.manifest.get("prompts", made_with)
        if before != made_with:
            raise ConfigError(
                f"{self._record.folder}: this run began with {before}, the model now gives {made_with}; use --fresh"
            )
        replicas = {**self._record.manifest.get("replicas", {}), device: msgspec.to_builtins(info)}
        repeat = self._repeat(replicas.values())
        self._record.note(prompts=made_with, replicas=replicas, replies_repeat=repeat, **self._facts())
        self._watching.ready(device, info)

    def _repeat(self, replicas: Iterable[dict[str, Any]]) -> str:
        if self._config.fleet == "endpoint":
            return GROUPED if self._config.endpoint_samples == "auto" else SERVERS
        return STEADY if all(replica["steady"] for replica in replicas) else UP_TO

    def request(self, k: int, repairs: Attempt | None) -> Request:
        return make_request(self._plan, k, self._mode, self._config, repairs)

    def publish(self, status: Status) -> None:
        self._watching.publish(status)
        status_file.write(self._record.folder, status)
        self._progress.update(status)
        if self._tracer is not None:
            self._tracer.rest()
