"""`python main.py`: the main job. Wires config, tasks, fleet, judge, watchers and results together."""

import argparse
import os
import sys
from dataclasses import asdict

import msgspec

import model_loader
from agent_manager import Hooks
from bench import settings_file
from bench.benchmarks import HUMANEVAL, chosen
from bench.errors import ConfigError
from bench.plan import Plan, make_agents
from bench.prompts import make_request
from bench.records import Attempt, Status
from bench.settings import RunConfig
from commands.beside import Beside, check_terminal
from commands.open_run import OpenRun, opened
from commands.session import carry_out
from commands.summary import say
from commands.watching import Watching
from gpu_monitor import list_devices, visible_here
from watch import status as status_file
from watch.host import hardware
from watch.logs import shown
from watch.progress import Progress
from watch.trace import Tracer
from watch.tracking import make_tracker
from watch.wandb_login import check_login
from workers.devices import DeviceSpec, choose_devices
from workers.local import LocalFleet
from workers.protocol import ReplicaInfo, Request
from workers.replica_spec import ReplicaSpec, TraceSpec

FLAGS = {
    "num_tasks": "humaneval_limit",
    "num_agents": "num_agents",
    "benchmark": "benchmark",
    "output_dir": "output_dir",
    "trace": "trace",
}

# What the same config may change from run to run: which rows share a batch depends on when jobs arrive.
UP_TO = "up to floating-point effects of which rows share a batch; sampled replies can differ throughout"
STEADY = "exactly, on machines of one kind, whatever the rows, the workers and the order of arrival"


def run(options: argparse.Namespace) -> int:
    """Run or resume what the flags ask for; gives the exit code. Raises UserError."""
    config = settings_file.load(options.config, settings_file.from_flags(vars(options), FLAGS))
    if options.dashboard:
        check_terminal()
    for warning in config.warnings():
        print(f"swarmeval: {warning}", file=sys.stderr)
    check_login(config, os.environ)  # before anything is moved or made
    benchmark = chosen(config)
    if config.benchmark != HUMANEVAL and config.task_limit() and config.humaneval_limit < benchmark.in_all:
        said = f"the first {config.humaneval_limit} of {benchmark.in_all} tasks of {config.benchmark}"
        print(f"swarmeval: humaneval_limit: {said}", file=sys.stderr)  # it may be left from a config for HumanEval
    gpus = visible_here(list_devices()) if config.device == "cuda" else ()
    devices = choose_devices(config, gpus, os.environ, len(os.sched_getaffinity(0)))
    model = "scripted" if config.engine == "scripted" else model_loader.locate(config.model_id)
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
        )
        tracer = Tracer(record.folder, len(record.manifest["sessions"]) + 1) if config.trace else None
        fleet = LocalFleet(
            devices, _replicas(config, devices, model, tracer), config.worker_timeout_s, config.load_timeout_s
        )
        tracker = make_tracker(config, record.folder, record.run_id, record.manifest)
        watching = Watching(config, record, fleet, devices, tracker)
        desk = _Desk(config, plan, record, progress, watching, tracer)
        hooks = Hooks(request=desk.request, ready=desk.ready, publish=desk.publish)
        facts = _facts(config, len(devices))
        score: dict[str, object] = {}
        try:
            with watching:
                ending = carry_out(
                    config,
                    record,
                    watching.fleet,
                    hooks,
                    lambda: {**facts, **watching.facts()},
                    watching.inside,
                    tracer,
                )
            score = ending.score
        finally:
            tracker.finish(score)
    say(ending.summary)  # below the bar, which is closed now
    return ending.exit_code


def _replicas(
    config: RunConfig, devices: tuple[DeviceSpec, ...], model: str, tracer: Tracer | None
) -> list[ReplicaSpec]:
    """What each device's worker is told to load."""
    return [
        ReplicaSpec(
            engine=config.engine,
            model=model,
            device=device.name if config.engine == "scripted" else device.torch_device,
            load_in_4bit=config.load_in_4bit,
            cpu_kernel=config.cpu_kernel,
            native_kernels=config.native_kernels,
            cuda_graphs=config.cuda_graphs,
            data_parallel=config.use_data_parallelism,
            rows=None if config.engine_rows == "auto" else config.engine_rows,
            max_new_tokens=config.max_new_tokens,
            neighbours=config.cpu_workers if config.device == "cpu" else 1,
            trace=TraceSpec(str(tracer.folder), device.name, tracer.session, tracer.origin_ns) if tracer else None,
        )
        for device in devices
    ]


def _facts(config: RunConfig, devices: int) -> dict[str, object]:
    """What score.json says of the setting."""
    model = "scripted" if config.engine == "scripted" else config.model_id
    return {"model_id": model, "benchmark": config.benchmark, "devices": devices}


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
    ) -> None:
        self._config = config
        self._plan = plan
        self._record = record
        self._progress = progress
        self._watching = watching
        self._tracer = tracer
        self._mode = ""

    def ready(self, device: str, info: ReplicaInfo) -> None:
        """Write down what was loaded. Raises ConfigError when it is not what this run began with."""
        asked = self._config.prompt_mode
        self._mode = asked if asked != "auto" else "chat" if info.chat_template_sha256 else "completion"
        if self._mode == "chat" and not info.chat_template_sha256:
            raise ConfigError(f"prompt_mode is 'chat' but {info.model} has no chat template; use completion or auto")
        made_with = {"prompt_mode": self._mode, "chat_template_sha256": info.chat_template_sha256}
        before = self._record.manifest.get("prompts", made_with)
        if before != made_with:
            raise ConfigError(
                f"{self._record.folder}: this run began with {before}, the model now gives {made_with}; use --fresh"
            )
        replicas = {**self._record.manifest.get("replicas", {}), device: msgspec.to_builtins(info)}
        steady = all(replica["steady"] for replica in replicas.values())
        self._record.note(prompts=made_with, replicas=replicas, replies_repeat=STEADY if steady else UP_TO)
        self._watching.ready(device, info)

    def request(self, k: int, repairs: Attempt | None) -> Request:
        return make_request(self._plan, k, self._mode, self._config, repairs)

    def publish(self, status: Status) -> None:
        self._watching.publish(status)
        status_file.write(self._record.folder, status)
        self._progress.update(status)
        if self._tracer is not None:
            self._tracer.rest()
