"""`replica:` how each loaded copy of the model decodes."""

from typing import Annotated, Literal

from pydantic import Field

from swarmeval.settings.section import Resumable, Section


class ReplicaSettings(Section):
    """The decode engine of each replica."""

    rows: Resumable[Literal["auto"] | Annotated[int, Field(ge=1, le=4096)]] = Field(
        "auto", description="number of sequences that a replica decodes at once; auto lets the replica choose"
    )
    cpu_kernel: Literal["cached", "bnb"] = Field(
        "cached", description="4-bit weights on the CPU: cached unpacks them once after loading, bnb at each use"
    )
    native_kernels: Literal["auto", "off"] = Field(
        "auto", description="auto compiles kernels for this CPU if a C++ compiler is found; off uses torch only"
    )
    share_answers: Literal["auto", "off"] = Field(
        "auto", description="auto computes equal token histories once for all jobs; off computes each job on its own"
    )
    cuda_graphs: Literal["auto", "off"] = Field(
        "auto", description="auto replays decode steps as CUDA graphs if the model allows it; off launches each kernel"
    )
