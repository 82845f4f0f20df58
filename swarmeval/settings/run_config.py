"""The settings of a run: what may be set, its default and its limits. Reads no files (see settings_file).

Every default is written here, once. A user's value is obeyed or refused, never changed.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from swarmeval.settings import endpoint_rules, fleet_rules, load_levels
from swarmeval.settings.agents import AgentSettings, Repairs, Samples, Temperature, TopK, TopP
from swarmeval.settings.load_levels import LoadLevel

WEEK_S = 604_800
MOST_JOBS = 1_000_000_000  # two bits each are held in memory
EMBEDDED = "embedded"  # the model_id of the bundled SmolLM2-135M-Instruct

# Keys that change how a run is watched or carried out but not what it measures: a resume may change them.
NOT_MEASURED = frozenset({
    "output_dir", "verbose", "eval_workers", "sandbox", "monitor_interval_s", "idle_baseline_s", "wandb",
    "wandb_project", "wandb_entity", "wandb_tags", "wandb_api_key", "max_attempts", "worker_timeout_s",
    "load_timeout_s", "engine_rows", "max_in_flight", "distribution", "cpu_workers", "batch_audit",
    "measure_baseline", "trace", "nice", "cpu_affinity", "ray_address", "endpoints", "endpoint_key_env",
    "endpoint_concurrency", "endpoint_timeout_s", "serve_host", "serve_port", "serve_key_env", "serve_queue",
})  # fmt: skip

# Keys that decide what a verdict means: runs that differ in one of them were judged differently.
JUDGED_BY = ("benchmark", "eval_timeout", "eval_memory_mb", "use_black_formatting", "accept_any_name")


class RunConfig(BaseModel):
    """All settings of a run. Field descriptions are the reference; README repeats them for people."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    model_id: str = Field(
        "meta-llama/Meta-Llama-3.1-8B-Instruct", min_length=1, description="hub name, folder, or 'embedded'"
    )
    trust_remote_code: bool = Field(
        False,
        description="run the Python that a model brings along, with all your rights; else such a model is refused",
    )
    load_in_4bit: bool = Field(True, description="NF4 weights; false loads bf16, or fp16 or fp32 where bf16 is missing")
    device: Literal["cuda", "cpu"] = Field("cuda", description="where replicas run")
    cpu_kernel: Literal["cached", "bnb"] = Field(
        "cached", description="weights on the CPU: unpacked once after loading, or 4-bit, unpacked at each use"
    )
    native_kernels: Literal["auto", "off"] = Field(
        "auto", description="kernels compiled for this CPU where a C++ compiler is found, or torch alone"
    )
    use_data_parallelism: bool = Field(True, description="one replica per device; false shards one over all GPUs")
    cpu_workers: int = Field(1, ge=1, le=256, description="replicas on the CPU, or on each node's, sharing its cores")
    nice: int = Field(
        0, ge=-20, le=19, description="added to the priority number of the workers; judges always come last"
    )
    cpu_affinity: Literal["off", "spread"] | tuple[Annotated[int, Field(ge=0)], ...] = Field(
        "off",
        description="pins workers: CPU replicas each to their own share of all cores (spread), or of those listed",
    )
    engine: Literal["hf", "scripted"] = Field("hf", description="what answers; scripted needs no model")
    fleet: Literal["local", "ray", "endpoint", "vllm"] = Field(
        "local",
        description="what answers: workers of this machine, the same with vLLM in them, a Ray cluster's, or servers",
    )
    ray_address: str = Field(
        "auto", min_length=1, description="the cluster's head, as host:port; auto: RAY_ADDRESS, or the one running here"
    )
    endpoints: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="base URLs of the servers, as http://host:8000/v1"
    )
    endpoint_key_env: str = Field(
        "OPENAI_API_KEY", min_length=1, description="the environment variable that holds the key, where one is wanted"
    )
    endpoint_dialect: Literal["vllm", "llama.cpp", "openai", "plain"] = Field(
        "vllm", description="which fields a server knows; see Other engines"
    )
    endpoint_body: dict[str, Any] = Field(
        {}, description="further fields of each request; null leaves one out. Not for secrets"
    )
    endpoint_samples: Literal["off", "auto"] = Field(
        "off", description="auto: one request for jobs that differ in their seed only, whose replies then do not repeat"
    )
    endpoint_concurrency: int = Field(64, ge=1, le=4096, description="requests at once, of each endpoint")
    endpoint_timeout_s: float = Field(
        600.0, gt=0, le=WEEK_S, description="how long a server may say nothing, at the start of an answer and within"
    )

    num_agents: int = Field(1, ge=1, le=1_000_000, description="independent samplers, each answering every task")
    agents: tuple[AgentSettings, ...] | None = Field(None, description="agents with settings of their own")
    num_samples: Samples = Field(1, description="answers per agent and task")
    max_repairs: Repairs = Field(0, description="further answers of an agent to a task that it has failed")
    repair_sees: Literal["evidence", "tests"] = Field(
        "evidence", description="what such an agent is shown: how its program failed, or the hidden tests as well"
    )
    batch_audit: int = Field(0, ge=0, le=1_000_000, description="jobs answered again, one by one, after the run")
    measure_baseline: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="the same, for the report's table of one job after another; the larger counts",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="the run seed all job seeds derive from")

    batch_size: int = Field(8, ge=1, le=4096, description="jobs handed to a device at once")
    max_in_flight: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="batches a device may hold; auto keeps twice its rows busy"
    )
    engine_rows: Literal["auto"] | Annotated[int, Field(ge=1, le=4096)] = Field(
        "auto", description="sequences a replica decodes at once"
    )
    cuda_graphs: Literal["auto", "off"] = Field(
        "auto", description="decode steps on a GPU: replayed where the model allows it, or launched anew"
    )
    distribution: Literal["dynamic", "round_robin"] = Field(
        "dynamic", description="may a device that runs dry take batches of another"
    )
    max_attempts: int = Field(3, ge=1, description="tries of a job whose generation fails")
    worker_timeout_s: float = Field(
        300.0, gt=0, le=WEEK_S, description="silence of a busy worker after which it is restarted"
    )
    load_timeout_s: float = Field(1800.0, gt=0, le=WEEK_S, description="time a worker may take to load its replica")

    max_new_tokens: int = Field(512, ge=1, description="longest answer, in tokens")
    do_sample: bool = Field(True, description="false decodes greedily")
    temperature: Temperature = Field(0.25, description="softmax temperature")
    top_p: TopP = Field(0.9, description="nucleus size")
    top_k: TopK = Field(40, description="tokens kept before top_p; 0 keeps all")
    repetition_penalty: float = Field(1.1, gt=0, le=10, description="1.0 turns it off")
    num_beams: int = Field(1, ge=1, le=64, description="beams, without sampling only")
    stop: Literal["auto"] | tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        "auto", description="texts that end a reply; auto: those of HumanEval in completion mode, none in chat"
    )
    prompt_mode: Literal["auto", "chat", "completion"] = Field(
        "auto", description="chat template or raw text; auto asks the model"
    )

    benchmark: str = Field("humaneval", description="which tasks; see Benchmarks")
    benchmark_file: str | None = Field(None, min_length=1, description="a local copy of the benchmark's file")
    humaneval_limit: int = Field(
        164, ge=1, description="the first N tasks of any benchmark, in its order; left out: all of them"
    )
    task_ids: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        None, description="of these, the tasks whose names match: names, or patterns as *, ? and [0-9]"
    )
    use_black_formatting: bool = Field(False, description="format candidates with black before they are judged")
    accept_any_name: bool = Field(
        False, description="take the only function of a reply for the one asked for, whatever its name"
    )
    eval_workers: int = Field(4, ge=1, le=1024, description="programs judged at once")
    eval_timeout: float = Field(10.0, gt=0, le=3600, description="seconds a program may run")
    eval_timeout_scale: Literal["auto"] | Annotated[float, Field(gt=0, le=1000)] = Field(
        "auto",
        description="times eval_timeout; auto: how much slower than a server of 2023 the canonical solutions run",
    )
    eval_memory_mb: int = Field(4096, ge=64, le=1_048_576, description="address space a program may use")
    sandbox: Literal["strict", "auto", "none"] = Field(
        "auto", description="strict needs every layer of the sandbox, auto takes those there are, none adds none"
    )

    output_dir: str = Field("logs", min_length=1, description="the run folder")
    verbose: bool = Field(False, description="a line per batch, and the workers' logs, on the screen")
    idle_baseline_s: float = Field(
        3.0, ge=0, le=WEEK_S, description="seconds of watching the idle machine, where it tells its energy; 0: none"
    )
    monitor_interval_s: float = Field(1.0, ge=0.05, le=86_400, description="seconds between monitor samples")
    trace: bool = Field(False, description="where the time goes: trace.json and flame graphs of all processes")
    packages: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        ("numpy",), description="`testgen`: for whose functions tests are written: names, or paths"
    )
    files_per_package: Annotated[int, Field(ge=1)] | None = Field(
        None, description="`testgen`: modules of each package, drawn by the seed; left out: all"
    )
    load: tuple[LoadLevel, ...] = Field(
        (LoadLevel(concurrency=8),), description="`testgen`: levels of load, one after another"
    )
    slo_ttft_s: float | None = Field(None, gt=0, le=WEEK_S, description="`testgen`: TTFT that counts as good")
    slo_tpot_s: float | None = Field(None, gt=0, le=WEEK_S, description="`testgen`: TPOT that counts as good")
    combine_with_model: bool = Field(
        False, description="`testgen`: have the model itself tidy each merged test file, after the load"
    )

    serve_host: str = Field("127.0.0.1", min_length=1, description="`serve`: the address it listens at")
    serve_port: int = Field(8000, ge=0, le=65535, description="`serve`: its port; 0: any free one")
    serve_key_env: str = Field(
        "SWARMEVAL_API_KEY",
        min_length=1,
        description="`serve`: the environment variable with the key that clients must show, if it is set",
    )
    serve_queue: int = Field(
        256, ge=0, le=1_000_000, description="`serve`: answers that may wait for a row; beyond it clients get a 429"
    )
    wandb: Literal["off", "offline", "online"] = Field("off", description="Weights & Biases")
    wandb_project: str = Field("swarmeval", min_length=1, description="W&B project")
    wandb_entity: str | None = Field(None, description="W&B user or team")
    wandb_tags: tuple[str, ...] = Field((), description="W&B tags")
    wandb_api_key: str | None = Field(None, repr=False, description="W&B key; wins over WANDB_API_KEY, never written")

    @model_validator(mode="before")
    @classmethod
    def _agents_one_way(cls, values: object) -> object:
        if isinstance(values, dict) and "agents" in values and "num_agents" in values:
            raise ValueError("agents and num_agents are both set; keep one of them")
        return values

    @model_validator(mode="before")
    @classmethod
    def _no_secret(cls, values: object) -> object:
        if isinstance(values, dict):
            fault = endpoint_rules.secret(values.get("endpoints"), values.get("endpoint_key_env"))
            if fault is not None:
                raise ValueError(fault)
        return values

    @model_validator(mode="after")
    def _possible_together(self) -> Self:
        if self.num_beams > 1 and self.do_sample:
            raise ValueError("num_beams above 1 works without sampling only; set do_sample: false or num_beams: 1")
        if self.agents is not None and not self.agents:
            raise ValueError("agents is empty; list at least one agent or use num_agents")
        if self.device == "cuda" and "cpu_workers" in self.model_fields_set and self.engine != "scripted":
            raise ValueError("cpu_workers is set but device is 'cuda'; set device: cpu or leave cpu_workers out")
        if self.device == "cpu" and "cuda_graphs" in self.model_fields_set:
            raise ValueError("cuda_graphs is set but device is 'cpu'; set device: cuda or leave cuda_graphs out")
        if self.cpu_kernel == "bnb" and not (self.device == "cpu" and self.load_in_4bit):
            raise ValueError("cpu_kernel: bnb is for 4-bit weights on the CPU; set device: cpu and load_in_4bit: true")
        if self.device == "cpu" and not self.use_data_parallelism and self.cpu_workers > 1:
            raise ValueError("use_data_parallelism: false means one replica; leave cpu_workers at 1")
        self._cores_possible()
        jobs = self.answers_a_task() * self.humaneval_limit
        if jobs > MOST_JOBS:
            raise ValueError(f"these are {jobs:,} jobs; a run may have {MOST_JOBS:,}")
        if self.output_dir.startswith("~"):
            raise ValueError(f"output_dir is {self.output_dir!r}; write the home folder out")
        for fault in (*fleet_rules.faults(self, self._is_default), *load_levels.faults(self, self._is_default)):
            raise ValueError(fault)
        return self

    def _cores_possible(self) -> None:
        cores = self.cpu_affinity
        if cores == "spread" and self.device == "cuda" and self.engine != "scripted":
            raise ValueError("cpu_affinity: spread is for CPU replicas, device is 'cuda'; list cores, or use off")
        if not isinstance(cores, str) and len(set(cores)) < max(1, len(cores)):
            raise ValueError("cpu_affinity must list at least one core, and each once; or use spread or off")

    def _is_default(self, key: str) -> bool:
        return bool(getattr(self, key) == type(self).model_fields[key].default)

    def task_limit(self) -> int | None:
        """How many tasks at most; None where the user did not say and all are meant."""
        return self.humaneval_limit if "humaneval_limit" in self.model_fields_set else None

    def answers_a_task(self) -> int:
        """Of all agents together."""
        if self.agents is None:
            return self.num_agents * self.num_samples
        return sum(agent.count * (agent.samples or self.num_samples) for agent in self.agents)

    def answered_again(self) -> int:
        """Jobs answered again after the run, one by one: one audit serves whoever asks for it."""
        return max(self.batch_audit, self.measure_baseline)

    def warnings(self) -> list[str]:
        """What is allowed but seldom meant, a line each."""
        return [*self._greedy(), *self._left_to_servers(), *load_levels.unheeded(self)]

    def _greedy(self) -> list[str]:
        agents = self.agents or ()
        if not self.do_sample and (
            self.num_agents > 1 or sum(agent.count for agent in agents) > 1 or self.num_samples > 1
        ):
            return ["do_sample is false: greedy decoding gives every agent and sample the same answer"]
        return []

    def _left_to_servers(self) -> list[str]:
        if self.fleet != "endpoint":
            return []
        local = ("device", "load_in_4bit", "cpu_kernel", "native_kernels", "cuda_graphs", "use_data_parallelism")
        said: list[str] = [key for key in local if key in self.model_fields_set]
        said += [endpoint_rules.DECIDED[key] for key in self.endpoint_body if key in endpoint_rules.DECIDED]
        return [f"fleet: endpoint: left to the servers, whatever is set here: {', '.join(said)}"] if said else []

    def measured(self) -> dict[str, object]:
        """The settings that decide what is measured: two runs with equal ones may be one run, resumed."""
        return self.model_dump(mode="json", exclude=set(NOT_MEASURED))
