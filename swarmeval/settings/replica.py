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
        "auto",
        description="quantized weights: on unpacks them once after loading, off at each use, auto if memory allows",
    )
    double_quantization: bool = Field(
        False, description="with weights: nf4, quantize the scales of the weights as well"
    )
    quantization_block: Literal[32, 64, 128, 256, 512, 1024, 2048, 4096] = Field(
        64, description="with weights: nf4, the number of weights that share a scale"
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
