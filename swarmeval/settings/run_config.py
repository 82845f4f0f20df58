"""RunConfig: the settings of a run and the rules between them. Reads no files (see loading)."""

from typing import Self

from pydantic import field_validator, model_validator

from swarmeval.location import command
from swarmeval.settings import fleet_rules, prompt_rules, weight_rules
from swarmeval.settings.agents import AgentSettings
from swarmeval.settings.endpoint import DECIDED
from swarmeval.settings.released import window
from swarmeval.settings.run_keys import RunKeys
from swarmeval.settings.section import flat, is_resumable, keys

EMBEDDED = "embedded"  # the model_id of the bundled SmolLM2-135M-Instruct
MOST_JOBS = 1_000_000_000  # each takes two bits of memory

# Keys that affect verdicts: two runs that differ in one of them were judged differently.
JUDGED_BY = ("benchmark", "eval_timeout", "eval_memory_mb", "sandbox.mode", "use_black_formatting", "accept_any_name")
# The settings that `score` uses. It generates nothing, so the other settings do not describe its results.
SCORE_USES = (
    *JUDGED_BY, "benchmark_file", "humaneval_limit", "task_ids", "released", "eval_timeout_scale", "eval_workers",
    "judge_python", "output_dir", "verbose",
)  # fmt: skip
OF_FILES = ("output_dir", "verbose")
JUDGE_SERVICE_USES = (*(key for key in SCORE_USES if key not in OF_FILES), "serve", "judge_service")


class RunConfig(RunKeys):
    """All settings of a run, checked for combinations that contradict each other."""

    @model_validator(mode="before")
    @classmethod
    def _agents_one_way(cls, values: object) -> object:
        if isinstance(values, dict) and "agents" in values and "num_agents" in values:
            raise ValueError("agents and num_agents are both set; keep one of them")
        return values

    @field_validator("benchmark")
    @classmethod
    def _no_command(cls, name: str) -> str:
        if name == "testgen":
            raise ValueError(f"testgen is now a command; run {command()} loadtest")
        return name

    @field_validator("released")
    @classmethod
    def _dates(cls, text: str | None) -> str | None:
        if text is not None:
            window(text)
        return text

    @field_validator("engine")
    @classmethod
    def _one_name(cls, engine: str) -> str:
        return "hf" if engine == "auto" else engine  # as manifests always named the built-in engine

    @model_validator(mode="after")
    def _possible_together(self) -> Self:
        if self.num_beams > 1 and self.do_sample:
            raise ValueError("beam search needs do_sample: false; set that, or num_beams: 1")
        for key in ("presence_penalty", "frequency_penalty", "logit_bias"):
            own = any(getattr(agent, key) for agent in self.agents or ())
            if self.num_beams > 1 and (own or not self.is_default(key)):
                raise ValueError(f"{key} does not go with beam search; set num_beams: 1")
        if self.agents is not None and not self.agents:
            raise ValueError("agents is empty; list at least one agent or use num_agents")
        for agent in self.agents or ():
            if agent.adapter is not None and agent.adapter not in self.adapters:
                raise ValueError(
                    f"agents names the adapter {agent.adapter!r}, which adapters does not list; add it there"
                )
        self._possible_on_device()
        jobs = self.answers_a_task() * self.humaneval_limit
        if jobs > MOST_JOBS:
            raise ValueError(f"this run has {jobs:,} jobs, the limit is {MOST_JOBS:,}; reduce agents, samples or tasks")
        if self.output_dir.startswith("~"):
            raise ValueError(f"output_dir is {self.output_dir!r}, and ~ is not expanded; write the full path")
        for fault in (*weight_rules.faults(self), *prompt_rules.faults(self), *fleet_rules.faults(self)):
            raise ValueError(fault)
        return self

    def _possible_on_device(self) -> None:
        if self.device == "cuda" and self.is_set("cpu_workers") and self.engine != "scripted":
            raise ValueError("cpu_workers is set but device is 'cuda'; set device: cpu or remove cpu_workers")
        if self.device == "cpu" and self.is_set("replica.cuda_graphs"):
            raise ValueError(
                "replica.cuda_graphs is set but device is 'cpu'; set device: cuda or remove replica.cuda_graphs"
            )
        if self.device == "cpu" and not self.use_data_parallelism and self.cpu_workers > 1:
            raise ValueError("use_data_parallelism: false runs one replica; set cpu_workers: 1")
        if self.workers.cpu_affinity == "spread" and self.device == "cuda" and self.engine != "scripted":
            raise ValueError(
                "workers.cpu_affinity: spread needs CPU replicas, but device is 'cuda'; list cores, or use off"
            )

    def task_limit(self) -> int | None:
        """The largest number of tasks to use; None if the user set no limit."""
        return self.humaneval_limit if self.is_set("humaneval_limit") else None

    def computes_on_cpu(self) -> bool:
        """Whether replicas of this run compute on CPU cores, which judges may need as well."""
        return self.fleet != "endpoint" and self.device == "cpu"

    def answers_a_task(self) -> int:
        """Answers per task, all agents together."""
        profiles = self.profiles()
        if profiles is None:
            return self.num_agents * self.num_samples
        return sum(agent.count * (agent.samples or self.num_samples) for agent in profiles)

    def profiles(self) -> tuple[AgentSettings, ...] | None:
        """The entries of `agents`, or `num_agents` per adapter; None if there are neither."""
        if self.agents is not None or not self.adapters:
            return self.agents
        return tuple(AgentSettings(adapter=name, count=self.num_agents) for name in self.adapters)

    def warnings(self) -> list[str]:
        """Valid settings that are rarely intended, one line each."""
        return [*self._greedy(), *self._left_to_servers()]

    def _greedy(self) -> list[str]:
        agents = self.agents or ()
        if not self.do_sample and (
            self.num_agents > 1 or sum(agent.count for agent in agents) > 1 or self.num_samples > 1
        ):
            return ["do_sample is false: greedy decoding gives all agents and samples the same answer"]
        return []

    def _left_to_servers(self) -> list[str]:
        if self.fleet != "endpoint":
            return []
        local = (
            "device", "load_in_4bit", "weights", "replica.weight_cache", "replica.double_quantization",
            "replica.quantization_block", "replica.native_kernels", "replica.share_answers", "replica.cuda_graphs",
            "use_data_parallelism",
        )  # fmt: skip
        ignored: list[str] = [key for key in local if self.is_set(key)]
        ignored += [DECIDED[key] for key in self.endpoint.body if key in DECIDED]
        return [f"Ignored for servers: {', '.join(ignored)}"] if ignored else []

    def measured(self) -> dict[str, object]:
        """The settings that affect results. A run can be resumed only if these are unchanged."""
        values = flat(type(self), self.model_dump(mode="json"))
        return {key: values[key] for key, field in keys(type(self)).items() if not is_resumable(field)}

    def judged(self) -> dict[str, object]:
        """The settings that affect the verdicts on imported replies."""
        return {key: self.at(key) for key in (*JUDGED_BY, "eval_timeout_scale")}
