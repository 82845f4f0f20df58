"""`replica:` how each loaded copy of the model decodes."""

from typing import Annotated, Literal

from pydantic import Field

from swarmeval.settings.section import Resumable, Section


class ReplicaSettings(Section):
    """The decode engine of each replica."""

    rows: Resumable[Literal["auto"] | Annotated[int, Field(ge=1, le=4096)]] = Field(
        "auto", description="number of sequences that a replica decodes at once; auto lets the replica choose"
    )
    weight_cache: Literal["auto", "on", "off"] = Field(
        "auto", description="4-bit weights: on unpacks them once after loading, off at each use, auto if memory allows"
    )
    native_kernels: Literal["auto", "off"] = Field(
        "auto", description="auto compiles kernels, in C++ for a CPU and with Triton for a GPU; off uses torch only"
    )
    share_answers: Literal["auto", "off"] = Field(
        "auto", description="auto computes equal token histories once for all jobs; off computes each job on its own"
    )
    cuda_graphs: Literal["auto", "off"] = Field(
        "auto", description="auto replays decode steps as CUDA graphs if the model allows it; off launches each kernel"
    )
