"""`python main.py`: starts or resumes a run. Connects settings, tasks, fleet, judge, watchers and results."""

import argparse
import os
import sys
from dataclasses import asdict

from human_eval_runner import require_toolchains
from swarmeval.commands.beside import DashboardProcess, check_terminal
from swarmeval.commands.gates import exit_code, gates_of
from swarmeval.commands.output import say
from swarmeval.errors import ConfigError
from swarmeval.monitor.host import hardware
from swarmeval.monitor.tracing.export import Tracer
from swarmeval.monitor.tracing.run_spans import Asked, make_spans
from swarmeval.monitor.tracking.making import check_trackers, make_tracker
from swarmeval.monitor.tracking.tracker import finish_all
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import most_prompt_tokens
from swarmeval.session.fleet_choice import choose, read_template
from swarmeval.session.run_context import SessionContext, Swarm
from swarmeval.session.run_record import opened
from swarmeval.session.session import carry_out
from swarmeval.session.watchers import SessionWatchers
from swarmeval.settings import load_rules, loading
from swarmeval.tasks.catalog import HUMANEVAL, chosen
from swarmeval.watch.logs import log_to_screen
from swarmeval.watch.progress import ProgressDisplay

FLAGS = {
    "num_tasks": "humaneval_limit",
    "num_agents": "num_agents",
    "benchmark": "benchmark",
    "output_dir": "output_dir",
    "trace": "trace",
}


def run(options: argparse.Namespace) -> int:
    """Start or resume a run; return the exit code. Raises UserError."""
    gates = gates_of(options)
    values = loading.from_flags(vars(options), FLAGS)
    if options.num_tasks is not None:
        values.setdefault("task_ids", None)  # overrides the task_ids of the config file
    config = loading.load(options.config, values)
    for fault in load_rules.misplaced(config):
        raise ConfigError(f"{options.config}: {fault}")
    if options.dashboard:
        check_terminal()
    for warning in config.warnings():
        print(f"swarmeval: {warning}", file=sys.stderr)
    check_trackers(config, os.environ)  # before anything is moved or created
    benchmark = chosen(config)
    require_toolchains(benchmark.tasks, config.judge_python)  # likewise
    if config.benchmark != HUMANEVAL and config.task_limit() and config.humaneval_limit < benchmark.total:
        subset = f"the first {config.humaneval_limit} of {benchmark.total} tasks of {config.benchmark}"
        # The limit may be left over from a config for HumanEval.
        print(f"swarmeval: humaneval_limit: {subset}", file=sys.stderr)
    plan = Plan(make_agents(config), benchmark.tasks)
    infilling = any(task.infilling for task in plan.tasks)
    template = read_template(config) or ""
    most_tokens = most_prompt_tokens(plan, template, str(config.chat_template_kwargs), config.assistant_prefill)
    chosen_fleet = choose(config, most_prompt_tokens=most_tokens, infilling=infilling)
    data = benchmark.facts()
    adapters = {"adapters": chosen_fleet.adapters} if chosen_fleet.adapters else {}
    measured = {**config.measured(), "data": data, **adapters}
    with (
        opened(config, plan, measured, options.fresh, check=chosen_fleet.check) as record,
        ProgressDisplay(plan.total, owner=DashboardProcess(record.folder) if options.dashboard else None) as progress,
        log_to_screen(progress.note, config.verbose),
    ):
        tasks = f"{len(plan.tasks)} of {benchmark.total} tasks of {benchmark.name}"
        agents = f"{len(plan.agents)} agent{'s' * (len(plan.agents) != 1)}"
        progress.note(f"{plan.total:,} jobs: {agents}, {tasks}; model {chosen_fleet.model}")
        record.note_fleet(config.model_id, chosen_fleet.facts())
        record.note(
            data={**data, "licence": benchmark.licence or None},
            hardware=hardware(),
            agents=[asdict(agent) for agent in plan.agents],
            task_ids=[task.task_id for task in plan.tasks],
            **adapters,
        )
        tracer = Tracer(record.folder, len(record.manifest["sessions"]) + 1) if config.trace else None
        fleet = chosen_fleet.make(tracer)
        tracker = make_tracker(config, record.folder, record.run_id, record.manifest)
        asked = Asked(config, chosen_fleet.model, plan.agents)
        spans = make_spans(config, record.folder, record.run_id, record.manifest, asked)
        watchers = SessionWatchers(config, record, fleet, chosen_fleet.local_devices, tracker)
        score: dict[str, object] = {}
        try:
            with watchers:
                swarm = Swarm(plan, chosen_fleet, watchers, tracer, spans)
                ending = carry_out(SessionContext(config, record, progress, swarm))
            score = ending.score
        finally:
            finish_all([tracker, spans], score)
    say(ending.summary)  # after the progress bar has closed
    return exit_code(ending.exit_code, gates, ending.score, record.folder, options.junit)
