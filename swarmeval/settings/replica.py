"""`replica:` how one loaded model decodes."""

from typing import Annotated, Literal

from pydantic import Field

from swarmeval.settings.section import Resumable, Section


class ReplicaSettings(Section):
    """One replica's engine."""

    rows: Resumable[Literal["auto"] | Annotated[int, Field(ge=1, le=4096)]] = Field(
        "auto", description="sequences a replica decodes at once"
    )
    cpu_kernel: Literal["cached", "bnb"] = Field(
        "cached", description="weights on the CPU: unpacked once after loading, or 4-bit, unpacked at each use"
    )
    native_kernels: Literal["auto", "off"] = Field(
        "auto", description="kernels compiled for this CPU where a C++ compiler is found, or torch alone"
    )
    cuda_graphs: Literal["auto", "off"] = Field(
        "auto", description="decode steps on a GPU: replayed where the model allows it, or launched anew"
    )
