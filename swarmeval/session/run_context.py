"""Connects the coordinator of a run or score session to prompts, manifest, screen and watchers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from swarmeval.errors import ConfigError
from swarmeval.monitor.tracing.export import Tracer
from swarmeval.monitor.tracing.run_spans import SHOWN, RunSpans
from swarmeval.records import Agent, Attempt, Completion, Failure, Status, Task, Verdict
from swarmeval.requests import ReplicaInfo, Request, Thinking
from swarmeval.runs.plan import Plan
from swarmeval.runs.prompts import make_request, thinking_of
from swarmeval.scheduling.context import RunContext
from swarmeval.scores.spending import Prices
from swarmeval.session.fleet_choice import ChosenFleet
from swarmeval.session.run_record import OpenRun
from swarmeval.session.watchers import CoordinatorReadings, SessionWatchers
from swarmeval.settings.prompt_rules import CHAT
from swarmeval.settings.run_config import RunConfig
from swarmeval.thinking import separated
from swarmeval.watch import status as status_file
from swarmeval.watch.progress import ProgressDisplay
from swarmeval.workers.protocol import Fleet

# Whether a repeated run gives the same replies. Batches differ between runs because they depend on arrival times.
UP_TO = "up to floating-point effects of which rows share a batch; sampled replies can differ throughout"
SERVERS = "as far as the servers obey seeds and form the same batches"
GROUPED = "not: jobs share requests (endpoint.samples: auto), depending on their order of arrival"
STEADY = "exactly, on identical machines, independent of rows, workers and order of arrival"


@dataclass(frozen=True, slots=True)
class Swarm:
    """The plan, fleet and watchers of a run. `score` has no swarm."""

    plan: Plan
    chosen: ChosenFleet
    watchers: SessionWatchers
    tracer: Tracer | None = None
    spans: RunSpans = field(default_factory=RunSpans)

    @property
    def fleet(self) -> Fleet:
        return self.watchers.fleet


class SessionContext(RunContext):
    """The context of one session, with its run folder and progress display."""

    def __init__(
        self, config: RunConfig, record: OpenRun, progress: ProgressDisplay, swarm: Swarm | None = None
    ) -> None:
        self.config = config
        self.record = record
        self.swarm = swarm
        self.spans = swarm.spans if swarm else RunSpans()
        self.readings = swarm.watchers.readings if swarm else CoordinatorReadings()
        self._progress = progress
        self._mode = ""
        self._thinking: Thinking | None = None

    def request(self, k: int, repairs: Attempt | None) -> Request:
        assert self.swarm is not None, f"job {k} was requested, but `score` generates nothing"
        return make_request(self.swarm.plan, k, self._mode, self.config, repairs, self._thinking)

    def replica_ready(self, device: str, info: ReplicaInfo) -> None:
        """Record a loaded replica. Raises ConfigError if its prompts differ from those at the start of the run."""
        assert self.swarm is not None, f"{device} loaded {info.model}, but there is no fleet"
        configured = self.config.prompt_mode
        self._mode = configured if configured != "auto" else "chat" if info.takes_chat else "completion"
        check_mode(self._mode, info, self.swarm.plan.tasks)
        check_chat_settings(self._mode, self.config)
        check_bias(self.swarm.plan.agents, self.config, info)
        self._thinking = thinking_of(self.config, info)
        self.prefill = self.config.assistant_prefill if self._mode == "chat" else ""
        if self._thinking is not None:
            self.prefill_thought, self.prefill = separated(self.prefill, self._thinking, opened=False)
        made_with = {"prompt_mode": self._mode, "chat_template_sha256": info.chat_template_sha256}
        manifest = self.record.manifest
        before = manifest.get("prompts", made_with)
        if before != made_with:
            raise ConfigError(
                f"{self.record.folder}: this run began with {before}, now has {made_with}; start over with --fresh"
            )
        replicas = {**manifest.get("replicas", {}), device: msgspec.to_builtins(info)}
        repeat = self._repeat(replicas.values())
        self.record.note(prompts=made_with, replicas=replicas, replies_repeat=repeat, **self.swarm.chosen.facts())
        self.swarm.watchers.ready(device, info)
        self.spans.loaded(device, info)

    def publish(self, status: Status) -> None:
        if self.swarm is not None:
            self.swarm.watchers.publish(status)
        self.spans.enter(SHOWN.get(status.phase, ""))
        status_file.write(self.record.folder, status)
        self._progress.update(status)
        if self.swarm is not None and self.swarm.tracer is not None:
            self.swarm.tracer.flush_if_due()

    def show_step(self, text: str) -> None:
        """Show a step that precedes the first status."""
        self.spans.enter("prepare")
        self._progress.step(text)

    def note_verdict(self, completion: Completion, verdict: Verdict) -> None:
        self.spans.judged(self._mode, completion, verdict)

    def note_failure(self, failure: Failure) -> None:
        self.spans.failed(self._mode, failure)

    def facts(self) -> dict[str, object]:
        """The entries of score.json besides the score. Called last: it ends the watching."""
        released = self.record.manifest.get("data", {}).get("released")
        of = {"benchmark": self.config.benchmark, **({"released": released} if released else {})}
        if self.swarm is None:
            return {"model_id": None, **of}
        return {
            "model_id": self.swarm.chosen.model,
            **of,
            "devices": len(self.swarm.fleet.workers),
            **self.swarm.watchers.facts(self.record.ledger),
        }

    def prices(self) -> Prices | None:
        """The prices of this run's tokens and devices; None for `score`, which uses neither."""
        if self.swarm is None:
            return None
        local = self.swarm.chosen.local_devices
        gpus = sum(len(device.uuid.split(",")) for device in local if device.uuid)
        # The replicas of a CPU share one machine. Devices elsewhere have a worker each.
        return Prices(self.config.prices, gpus or (1 if local else len(self.swarm.fleet.workers)))

    def _repeat(self, replicas: Iterable[Mapping[str, Any]]) -> str:
        if self.config.fleet == "endpoint":
            return GROUPED if self.config.endpoint.samples == "auto" else SERVERS
        return STEADY if all(replica["steady"] for replica in replicas) else UP_TO


def check_chat_settings(mode: str, config: RunConfig) -> None:
    """Raise ConfigError for settings of chats if a model without a chat template gets raw text."""
    unused = [key for key in CHAT if not config.is_default(key)]
    if mode == "completion" and unused:
        raise ConfigError(f"{unused[0]} is set but {config.model_id} has no chat template; remove {unused[0]}")


def check_bias(agents: Iterable[Agent], config: RunConfig, info: ReplicaInfo) -> None:
    """Raise ConfigError if a logit bias is for a token that the model does not have."""
    named = {token for agent in agents for token, _ in agent.logit_bias or ()} | set(config.logit_bias)
    if info.vocabulary is not None and named and max(named) >= info.vocabulary:
        raise ConfigError(f"logit_bias names token {max(named)}, but {info.model} has {info.vocabulary} tokens")


def check_mode(mode: str, info: ReplicaInfo, tasks: Sequence[Task]) -> None:
    """Raise ConfigError if a replica does not take the prompts of these tasks in this mode."""
    if mode == "chat" and not info.takes_chat:
        raise ConfigError(f"prompt_mode is 'chat' but {info.model} has no chat template; use completion or auto")
    if mode == "completion" and not info.fills_gaps and any(task.infilling for task in tasks):
        raise ConfigError(
            f"{info.model} has no fill-in-the-middle tokens, which this benchmark needs in completion mode; "
            "set prompt_mode: chat, or use a model that was trained to fill in the middle"
        )
