"""The description of the replica that a worker loads. Crosses the process border; loads no model library."""

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from swarmeval.errors import ConfigError

FaultKind = Literal[
    "kill", "hang", "exit", "garbage", "raise", "refuse", "load_hang", "load_exit", "load_raise"
]  # fmt: skip


class ScriptedFault(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that goes wrong in a scripted replica; the load_ kinds strike while it loads."""

    kind: FaultKind
    after: int = 0  # answers given before it strikes
    device: str = ""  # whose fault it is; "" is everyone's
    lives: int = 1  # it strikes in the first so many lives of the worker


class Script(Struct, frozen=True, forbid_unknown_fields=True):
    """How a scripted replica behaves."""

    rows: int = 8
    steps: int = 1  # steps an answer takes
    step_s: float = 0.0
    load_s: float = 0.0
    faults: tuple[ScriptedFault, ...] = ()


def read_script(path: Path) -> Script:
    """The script in a JSON file, for dry runs. Raises ConfigError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Script)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is no script for engine: scripted ({error})") from None


class TraceSpec(Struct, frozen=True):
    """Where a traced worker leaves its spans and its flame graph."""

    folder: str
    device: str
    session: int  # of the run, from 1
    origin_ns: int  # when it began, by time.perf_counter_ns()


class ReplicaSpec(Struct, frozen=True):
    """One replica to make. What a user can set comes from the run's settings and has no default here."""

    engine: Literal["hf", "scripted", "vllm"]
    model: str  # what model_loader.locate gave: a folder, or "embedded"
    device: str  # as the worker sees it: "cuda:0" or "cpu"
    load_in_4bit: bool
    cpu_kernel: Literal["cached", "bnb"]  # how a CPU multiplies by the weights
    native_kernels: Literal["auto", "off"]  # on a CPU: compiled ones where a compiler is found, or torch alone
    cuda_graphs: Literal["auto", "off"]  # on a GPU: replay the steps of rows that share nothing, or launch them
    data_parallel: bool  # false: one model sharded over every GPU the worker sees
    rows: int | None  # sequences decoded at once; None: as many as memory allows, within reason
    max_new_tokens: int  # the longest answer asked for: what the memory of a row is estimated from
    trust_remote_code: bool = False  # may Python that the model brings run: only where somebody says so
    neighbours: int = 1  # replicas on this machine's memory, this one included
    script: Script = Script()  # read by the scripted engine only
    trace: TraceSpec | None = None
