"""Turns the phases, answers and verdicts of a run into spans for OpenTelemetry. Imports none of its packages.

Attributes have the names of the semantic conventions: gen_ai.* for answers, test.* for verdicts. Names that these lack
begin with "swarmeval.". Texts of prompts and replies are not exported.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmeval.monitor.tracing import otlp
from swarmeval.monitor.tracing.otlp import Attributes, TelemetryEvent, TelemetrySpan
from swarmeval.monitor.tracking.subject import Subject
from swarmeval.monitor.tracking.tracker import QueuedTracker
from swarmeval.records import Agent, Completion, Failure, Verdict, split_job_id
from swarmeval.requests import ReplicaInfo
from swarmeval.settings.run_config import RunConfig

LOAD, GENERATE, WRITE, REPORTING = "load", "generate", "write", "report"
# Phases of a status that are spans. "prepare" precedes the first status. Those of the end are left out.
SHOWN = {"loading": LOAD, "generating": GENERATE, "judging": "judge", "auditing": "audit", "draining": "drain"}
OPERATIONS = {"chat": "chat", "completion": "text_completion"}


class RunSpans:
    """Interface for recording the spans of a run. This implementation records nothing."""

    def enter(self, phase: str) -> None:
        """End the current phase, if it is another one, and start this one; "" only ends it."""

    def loaded(self, device: str, info: ReplicaInfo) -> None:
        """Record a loaded replica."""

    def judged(self, mode: str, completion: Completion, verdict: Verdict) -> None:
        """Record an answer and its verdict. `mode` is that of its prompt, chat or completion."""

    def failed(self, mode: str, failure: Failure) -> None:
        """Record a job without an answer."""

    def finish(self, summary: Mapping[str, object]) -> None:
        """End the last phase and the run. Has a time limit and never raises."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The model and the settings of a run's answers."""

    config: RunConfig
    model: str
    agents: Sequence[Agent] = ()

    def common(self) -> dict[str, str]:
        """Attributes of everything that concerns the model."""
        config = self.config
        local = "vllm" if config.fleet == "vllm" else "swarmeval"
        provider = config.endpoint.dialect if config.fleet == "endpoint" else local
        return {"gen_ai.provider.name": provider, "gen_ai.request.model": self.model}

    def of_agent(self, number: int) -> Attributes:
        """Attributes of an agent's requests."""
        config, agent = self.config, next((one for one in self.agents if one.id == number), None)
        asked: dict[str, Any] = {
            "gen_ai.agent.id": str(number), "gen_ai.request.max_tokens": config.max_new_tokens
        }  # fmt: skip
        if agent is not None and agent.name is not None:
            asked["gen_ai.agent.name"] = agent.name
        if config.do_sample:
            for key in ("temperature", "top_p", "top_k"):
                own = getattr(agent, key, None)
                asked[f"gen_ai.request.{key}"] = config.at(key) if own is None else own
        return asked


class ExportedSpans(RunSpans):
    """Queues spans for a thread that exports them. Call its methods from one thread."""

    def __init__(
        self, asked: Asked, queue: QueuedTracker[TelemetrySpan], clock: Callable[[], float] = time.time
    ) -> None:
        """`clock` gives Unix time."""
        self._asked = asked
        self._queue = queue
        self._clock = clock
        self._began_s = clock()
        self._phase = ""
        self._since_s = 0.0
        self._load_since_s = self._began_s
        self._devices: set[str] = set()
        self._agents: dict[int, Attributes] = {}

    def enter(self, phase: str) -> None:
        if phase == self._phase:
            return
        now_s = self._clock()
        if self._phase:
            self._queue.log(TelemetrySpan(self._phase, self._since_s, now_s, {"swarmeval.phase": self._phase}))
        if phase == LOAD:
            self._load_since_s = now_s
        self._phase, self._since_s = phase, now_s

    def loaded(self, device: str, info: ReplicaInfo) -> None:
        now_s = self._clock()
        start_s = now_s - info.load_s if device in self._devices else self._load_since_s  # a restart is shorter
        self._devices.add(device)
        replica: dict[str, Any] = {
            "swarmeval.device": device,
            "swarmeval.weights": info.weights,
            "swarmeval.rows": info.rows,
        }
        self._queue.log(TelemetrySpan("load replica", start_s, now_s, {**self._asked.common(), **replica}))
        if self._phase == LOAD:
            self.enter(GENERATE)

    def judged(self, mode: str, completion: Completion, verdict: Verdict) -> None:
        now_s = self._clock()
        agent, task, sample, round_ = split_job_id(completion.job_id)
        judge = TelemetrySpan("judge", now_s - verdict.judge_s, now_s, {
            "test.suite.name": self._asked.config.benchmark,
            "test.case.name": task,
            "test.case.result.status": "pass" if verdict.passed else "fail",
            "swarmeval.job_id": verdict.job_id,
            "swarmeval.outcome": str(verdict.outcome),
            "swarmeval.verdict_shared": verdict.shared,
        })  # fmt: skip
        if completion.finished_at < self._began_s:  # by an earlier session, which recorded no span of it
            self._queue.log(judge)
            return
        result: dict[str, Any] = {
            "gen_ai.evaluation.name": "tests",
            "gen_ai.evaluation.score.value": float(verdict.passed),
            "gen_ai.evaluation.score.label": str(verdict.outcome),
            "gen_ai.response.id": completion.job_id,
        } | ({"gen_ai.evaluation.explanation": verdict.detail} if verdict.detail else {})
        self._queue.log(TelemetrySpan(
            self._name(mode),
            completion.finished_at - completion.latency_s,
            completion.finished_at,
            {
                **self._of_job(mode, agent), **of_answer(completion),
                "swarmeval.sample": sample, "swarmeval.round": round_, "swarmeval.task_id": task,
            },
            is_request=True,
            event=TelemetryEvent("gen_ai.evaluation.result", now_s, result),
            children=(judge,),
        ))  # fmt: skip

    def failed(self, mode: str, failure: Failure) -> None:
        agent, task, _, _ = split_job_id(failure.job_id)
        about = {"error.type": "no_completion", "swarmeval.task_id": task, "swarmeval.job_id": failure.job_id}
        at_s = failure.finished_at
        attributes = {**self._of_job(mode, agent), **about}
        self._queue.log(TelemetrySpan(self._name(mode), at_s, at_s, attributes, is_request=True, error=failure.reason))

    def finish(self, summary: Mapping[str, object]) -> None:
        self.enter("")
        self._queue.finish(summary)

    def _name(self, mode: str) -> str:
        return f"{OPERATIONS.get(mode, 'chat')} {self._asked.model}"

    def _of_job(self, mode: str, agent: int) -> Attributes:
        if agent not in self._agents:
            self._agents[agent] = {**self._asked.common(), **self._asked.of_agent(agent)}
        return {"gen_ai.operation.name": OPERATIONS.get(mode, "chat"), **self._agents[agent]}


def of_answer(completion: Completion) -> Attributes:
    """Attributes of an answer. Counts that a server did not report are left out."""
    counts: dict[str, Any] = {
        "gen_ai.usage.input_tokens": completion.prompt_tokens or None,
        "gen_ai.usage.output_tokens": completion.output_tokens or None,
        "gen_ai.usage.reasoning.output_tokens": completion.reasoning_tokens,
        "gen_ai.response.time_to_first_chunk": completion.ttft_s or None,
        "gen_ai.response.finish_reasons": (completion.finish_reason,) if completion.finish_reason else None,
    }
    return {
        "gen_ai.response.id": completion.job_id,
        "swarmeval.job_id": completion.job_id,
        "swarmeval.device": completion.device,
        "swarmeval.attempts": completion.attempts,
        **{name: value for name, value in counts.items() if value is not None},
    }


def make_spans(
    config: RunConfig,
    folder: Path,
    run_id: str,
    manifest: Mapping[str, object],
    asked: Asked,
    environ: Mapping[str, str] | None = None,
) -> RunSpans:
    """Make the recorder that the settings ask for. Exporting starts in the background.

    OTEL_SDK_DISABLED=true and OTEL_TRACES_EXPORTER=none turn it off.
    """
    environ = os.environ if environ is None else environ
    disabled = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    if disabled or not config.opentelemetry.enabled:
        return RunSpans()
    subject = Subject(config, folder, run_id, dict(manifest), environ)
    began_s, attributes = time.time(), {**asked.common(), "test.suite.name": config.benchmark}
    return ExportedSpans(asked, QueuedTracker(otlp.STORE, lambda: otlp.open_trace(subject, began_s, attributes)))
