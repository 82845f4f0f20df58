"""ReplicaSpec: the description of a replica that is sent to a worker. Imports no model library."""

from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from swarmeval.errors import ConfigError
from swarmeval.requests import Thinking
from swarmeval.weight_formats import BLOCK, WeightFormat

FaultKind = Literal[
    "kill", "hang", "exit", "garbage", "raise", "refuse", "load_hang", "load_exit", "load_raise"
]  # fmt: skip


class ScriptedFault(Struct, frozen=True, forbid_unknown_fields=True):
    """A fault of a scripted replica; the load_ kinds occur while it loads."""

    kind: FaultKind
    after: int = 0  # number of answers before the fault
    device: str = ""  # the affected device; "": all
    lives: int = 1  # the fault occurs in this many starts of the worker, from the first on


class Script(Struct, frozen=True, forbid_unknown_fields=True):
    """Behaviour of a scripted replica."""

    rows: int = 8
    steps: int = 1  # per answer
    step_s: float = 0.0
    load_s: float = 0.0
    faults: tuple[ScriptedFault, ...] = ()
    jobs_per_row: int = 1  # above 1, jobs share rows as those with the same tokens do


def read_script(path: Path) -> Script:
    """Read a script from a JSON file. Raises ConfigError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Script)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a valid script for engine: scripted ({error})") from None


class TraceSpec(Struct, frozen=True):
    """Destination and clock of a traced worker's spans and flame graph."""

    folder: str
    device: str
    session: int  # number of the session within the run, from 1
    origin_ns: int  # start of the session, by time.perf_counter_ns()


class ReplicaSpec(Struct, frozen=True):
    """Everything a worker needs to load one replica. User settings come from the run's config and have no default."""

    engine: Literal["hf", "scripted", "vllm"]
    model: str  # as returned by model_loader.locate: a folder, or "embedded"
    device: str  # as the worker sees it: "cuda:0" or "cpu"
    weights: WeightFormat
    weight_cache: Literal["auto", "on", "off"]  # whether quantized weights are unpacked once after loading
    native_kernels: Literal["auto", "off"]  # compiled and fused kernels where possible, or torch alone
    cuda_graphs: Literal["auto", "off"]  # on a GPU: replay recorded steps (rows then share no prompts), or not
    data_parallel: bool  # False: one model sharded over all visible GPUs
    rows: int | None  # sequences decoded at once; None: estimated from the memory
    max_new_tokens: int  # longest answer of the run, for the estimate of a row's memory
    share_answers: Literal["auto", "off"] = "auto"  # whether equal token histories are computed once
    most_prompt_tokens: int | None = None  # no prompt of the run has more; None: unknown
    adapters: tuple[tuple[str, str], ...] = ()  # LoRA adapters: name, and folder or hub name
    chat_template: str | None = None  # replaces the model's own; None: keep that
    chat_template_kwargs: dict[str, Any] = {}  # for the check of the template; requests bring them along
    thinking: Thinking | None = None  # as the settings state it, for engines that must know it when they load
    trust_remote_code: bool = False  # whether the model's own Python may run
    double_quantization: bool = False  # of nf4: whether the scales are quantized, too
    quantization_block: int = BLOCK  # of nf4: weights per scale
    vllm_args: dict[str, Any] = {}  # further arguments of vLLM's engine
    neighbours: int = 1  # replicas that share this machine's memory, including this one
    script: Script = Script()  # for the scripted engine only
    trace: TraceSpec | None = None
