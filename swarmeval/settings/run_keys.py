"""Every key of a run: what may be set, its default and its limits. Knows no rule between keys (see run_config).

Every default is written here and in the sections, once. A user's value is obeyed or refused, never changed.
"""

from typing import Annotated, Literal

from pydantic import Field

from swarmeval.settings.agents import AgentSettings, Repairs, Samples, Temperature, TopK, TopP
from swarmeval.settings.audit import AuditSettings
from swarmeval.settings.endpoint import EndpointSettings
from swarmeval.settings.loadtest import LoadTestSettings
from swarmeval.settings.monitor import MonitorSettings
from swarmeval.settings.ray import RaySettings
from swarmeval.settings.replica import ReplicaSettings
from swarmeval.settings.sandbox import SandboxSettings
from swarmeval.settings.section import Resumable, Section
from swarmeval.settings.serve import ServeSettings
from swarmeval.settings.wandb import WandbSettings
from swarmeval.settings.workers import WorkersSettings


class RunKeys(Section):
    """The keys that stand by themselves, and the sections."""

    model_id: str = Field(
        "meta-llama/Meta-Llama-3.1-8B-Instruct", min_length=1, description="hub name, folder, or 'embedded'"
    )
    trust_remote_code: bool = Field(
        False,
        description="run the Python that a model brings along, with all your rights; else such a model is refused",
    )
    load_in_4bit: bool = Field(True, description="NF4 weights; false loads bf16, or fp16 or fp32 where bf16 is missing")
    device: Literal["cuda", "cpu"] = Field("cuda", description="where replicas run")
    use_data_parallelism: bool = Field(True, description="one replica per device; false shards one over all GPUs")
    cpu_workers: Resumable[int] = Field(
        1, ge=1, le=256, description="replicas on the CPU, or on each node's, sharing its cores"
    )
    engine: Literal["hf", "scripted"] = Field("hf", description="what answers; scripted needs no model")
    fleet: Literal["local", "ray", "endpoint", "vllm"] = Field(
        "local",
        description="what answers: workers of this machine, the same with vLLM in them, a Ray cluster's, or servers",
    )
    num_agents: int = Field(1, ge=1, le=1_000_000, description="independent samplers, each answering every task")
    agents: tuple[AgentSettings, ...] | None = Field(None, description="agents with settings of their own")
    num_samples: Samples = Field(1, description="answers per agent and task")
    max_repairs: Repairs = Field(0, description="further answers of an agent to a task that it has failed")
    repair_sees: Literal["evidence", "tests"] = Field(
        "evidence", description="what such an agent is shown: how its program failed, or the hidden tests as well"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="the run seed all job seeds derive from")

    batch_size: int = Field(8, ge=1, le=4096, description="jobs handed to a device at once")
    distribution: Resumable[Literal["dynamic", "round_robin"]] = Field(
        "dynamic", description="whether an idle device may take batches queued for another"
    )
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
    eval_workers: Resumable[int] = Field(4, ge=1, le=1024, description="programs judged at once")
    eval_timeout: float = Field(10.0, gt=0, le=3600, description="seconds a program may run")
    eval_timeout_scale: Literal["auto"] | Annotated[float, Field(gt=0, le=1000)] = Field(
        "auto",
        description="times eval_timeout; auto: how much slower than a server of 2023 the canonical solutions run",
    )
    eval_memory_mb: int = Field(4096, ge=64, le=1_048_576, description="address space a program may use")
    output_dir: Resumable[str] = Field("logs", min_length=1, description="the run folder")
    verbose: Resumable[bool] = Field(False, description="a line per batch, and the workers' logs, on the screen")
    trace: Resumable[bool] = Field(
        False, description="where the time goes: trace.json and flame graphs of all processes"
    )

    replica: ReplicaSettings = ReplicaSettings()
    workers: WorkersSettings = WorkersSettings()
    sandbox: SandboxSettings = SandboxSettings()
    audit: AuditSettings = AuditSettings()
    monitor: MonitorSettings = MonitorSettings()
    wandb: WandbSettings = WandbSettings()
    endpoint: EndpointSettings = EndpointSettings()
    ray: RaySettings = RaySettings()
    serve: ServeSettings = ServeSettings()
    loadtest: LoadTestSettings = LoadTestSettings()
