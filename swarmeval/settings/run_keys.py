"""Every key of a run, with its default and limits. Rules that involve several keys are in run_config.

Each default is written once, here or in a section. A user's value is obeyed or refused, never changed.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from swarmeval.settings.agents import (
    AgentSettings,
    LogitBias,
    MinP,
    Penalty,
    Repairs,
    Samples,
    Temperature,
    TopK,
    TopP,
)
from swarmeval.settings.audit import AuditSettings
from swarmeval.settings.endpoint import EndpointSettings
from swarmeval.settings.judge_service import JudgeServiceSettings
from swarmeval.settings.loadtest import LoadTestSettings
from swarmeval.settings.mlflow import MlflowSettings
from swarmeval.settings.monitor import MonitorSettings
from swarmeval.settings.opentelemetry import OpenTelemetrySettings
from swarmeval.settings.prices import PriceSettings
from swarmeval.settings.ray import RaySettings
from swarmeval.settings.replica import ReplicaSettings
from swarmeval.settings.sandbox import SandboxSettings
from swarmeval.settings.section import Resumable, Section
from swarmeval.settings.serve import ServeSettings
from swarmeval.settings.thinking import ThinkingSettings
from swarmeval.settings.trackio import TrackioSettings
from swarmeval.settings.vllm import VllmSettings
from swarmeval.settings.wandb import WandbSettings
from swarmeval.settings.workers import WorkersSettings


class RunKeys(Section):
    """The top-level keys and the sections."""

    model_id: str = Field(
        "meta-llama/Meta-Llama-3.1-8B-Instruct",
        min_length=1,
        description="model to evaluate: Hugging Face name, local folder, or `embedded` for the bundled SmolLM2-135M",
    )
    model_revision: Resumable[str | None] = Field(
        None, min_length=1, description="commit, branch or tag of a model on the hub; unset takes its main branch"
    )
    trust_remote_code: bool = Field(
        False,
        description="run Python code shipped with the model, with your permissions; false refuses such models",
    )
    load_in_4bit: bool = Field(
        True, description="true is weights: nf4; false loads bf16, or fp16 or fp32 if the device lacks bf16"
    )
    weights: Literal["nf4", "int8", "bf16", "fp16", "fp32", "checkpoint", "gguf"] | None = Field(
        None,
        description="format of the weights; checkpoint keeps what its makers quantized, gguf reads the file model_id; "
        "unset follows load_in_4bit",
    )
    adapters: dict[Annotated[str, Field(min_length=1)], Annotated[str, Field(min_length=1)] | None] = Field(
        {},
        description="names of LoRA adapters, each with its PEFT folder or hub name; null is the model without one",
    )
    device: Literal["cuda", "cpu"] = Field("cuda", description="device type that replicas run on")
    use_data_parallelism: bool = Field(
        True, description="true loads one replica per device; false shards one replica over all GPUs"
    )
    cpu_workers: Resumable[int] = Field(
        1, ge=1, le=256, description="with device: cpu, the number of replicas per machine, which share its cores"
    )
    engine: Literal["auto", "hf", "scripted"] = Field(
        "auto",
        validate_default=True,
        description="auto and hf run the model with the built-in engine; scripted makes up answers, for dry runs",
    )
    fleet: Literal["local", "ray", "endpoint", "vllm"] = Field(
        "local",
        description="where generation runs: workers on this machine, the same with vLLM, a Ray cluster, or API servers",
    )
    num_agents: int = Field(1, ge=1, le=1_000_000, description="number of independent samplers that answer every task")
    agents: tuple[AgentSettings, ...] | None = Field(
        None, description="list of agents with their own settings; replaces num_agents"
    )
    num_samples: Samples = Field(1, description="answers per agent and task")
    max_repairs: Repairs = Field(0, description="further attempts that an agent gets at a task it has failed")
    repair_sees: Literal["evidence", "tests"] = Field(
        "evidence", description="what a repair prompt shows: how the program failed, or the hidden tests as well"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="run seed, from which all job seeds are derived")

    batch_size: int = Field(8, ge=1, le=4096, description="largest number of jobs sent to a device at once")
    distribution: Resumable[Literal["dynamic", "round_robin"]] = Field(
        "dynamic",
        description="dynamic deals whole tasks, and idle devices take from others; round_robin deals batches in turn",
    )
    max_new_tokens: int = Field(512, ge=1, description="maximum length of a reply, in tokens")
    do_sample: bool = Field(True, description="true samples; false decodes greedily")
    temperature: Temperature = Field(0.25, description="softmax temperature for sampling")
    top_p: TopP = Field(0.9, description="probability mass of nucleus sampling; 1 turns it off")
    top_k: TopK = Field(40, description="number of most likely tokens kept before top_p; 0 keeps all")
    min_p: MinP = Field(0.0, description="least probability of a token relative to the likeliest one; 0 turns it off")
    presence_penalty: Penalty = Field(
        0.0, description="subtracted from the logit of each token in the output so far, -2 to 2"
    )
    frequency_penalty: Penalty = Field(
        0.0, description="the same for each time that the token occurs in the output, -2 to 2"
    )
    logit_bias: LogitBias = Field({}, description="added to the logits of tokens, by id, -100 to 100: {50256: -100}")
    repetition_penalty: float = Field(1.1, gt=0, le=10, description="penalty on repeated tokens; 1.0 turns it off")
    num_beams: int = Field(1, ge=1, le=64, description="beams of beam search; above 1 needs do_sample: false")
    stop: Literal["auto"] | tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        "auto", description="texts that end a reply; auto uses the benchmark's in completion mode and none in chat mode"
    )
    prompt_mode: Literal["auto", "chat", "completion"] = Field(
        "auto", description="chat applies the model's chat template, completion sends raw text; auto follows the model"
    )

    system_prompt: str | None = Field(
        None, min_length=1, description="system prompt of agents without their own; in completion mode, first text"
    )
    chat_template: str | None = Field(
        None, min_length=1, description="path of a Jinja file to use instead of the model's own chat template"
    )
    chat_template_kwargs: dict[str, Any] = Field(
        {}, description="arguments of the chat template, for example {enable_thinking: false}"
    )
    assistant_prefill: str = Field(
        "", description="in chat mode, beginning of every reply, which the model continues; counts as part of the reply"
    )

    benchmark: str = Field("humaneval", description="name of the benchmark; see Benchmarks")
    benchmark_file: str | None = Field(
        None, min_length=1, description="local data file of the benchmark; your own tasks with benchmark: custom"
    )
    humaneval_limit: int = Field(
        164, ge=1, description="use only the first N tasks of the benchmark (any benchmark); unset uses all tasks"
    )
    task_ids: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        None,
        description="of the first humaneval_limit tasks, use only those that match a name or pattern (*, ?, [0-9])",
    )
    released: str | None = Field(
        None,
        description="of a benchmark with dates, use only tasks from these months or days, such as 2024-08..2025-01",
    )
    judge_python: str | None = Field(
        None,
        min_length=1,
        description="path of the Python that executed programs and their tests run under, with its packages",
    )
    use_black_formatting: bool = Field(False, description="format candidates with black before judging")
    accept_any_name: bool = Field(
        False, description="if a reply defines a single function, accept it as the entry point under any name"
    )
    eval_workers: Resumable[int] = Field(4, ge=1, le=1024, description="number of programs judged at once")
    eval_timeout: float = Field(10.0, gt=0, le=3600, description="time limit of a judged program, in seconds")
    eval_timeout_scale: Literal["auto"] | Annotated[float, Field(gt=0, le=1000)] = Field(
        "auto",
        description="factor on eval_timeout; auto measures how much slower than a 2023 server this machine is",
    )
    eval_memory_mb: int = Field(
        4096, ge=64, le=1_048_576, description="address space that a judged program may use, in MiB"
    )
    budget_prefixes: Resumable[bool] = Field(
        False,
        description="after the run, judge replies as if shorter limits on tokens had cut them; see Limits and budgets",
    )
    output_dir: Resumable[str] = Field("logs", min_length=1, description="folder that the run's files are written to")
    verbose: Resumable[bool] = Field(False, description="show one line per batch and the workers' logs")
    trace: Resumable[bool] = Field(
        False, description="record where the time goes: trace.json and flame graphs of all processes"
    )

    thinking: ThinkingSettings = ThinkingSettings()
    replica: ReplicaSettings = ReplicaSettings()
    workers: WorkersSettings = WorkersSettings()
    sandbox: SandboxSettings = SandboxSettings()
    audit: AuditSettings = AuditSettings()
    prices: PriceSettings = PriceSettings()
    monitor: MonitorSettings = MonitorSettings()
    wandb: WandbSettings = WandbSettings()
    mlflow: MlflowSettings = MlflowSettings()
    trackio: TrackioSettings = TrackioSettings()
    opentelemetry: OpenTelemetrySettings = OpenTelemetrySettings()
    endpoint: EndpointSettings = EndpointSettings()
    ray: RaySettings = RaySettings()
    vllm: VllmSettings = VllmSettings()
    serve: ServeSettings = ServeSettings()
    judge_service: JudgeServiceSettings = JudgeServiceSettings()
    loadtest: LoadTestSettings = LoadTestSettings()
