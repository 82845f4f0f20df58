"""The request to model_probe, which inspects a model without loading its weights, and its result."""

from dataclasses import dataclass

from swarmeval.weight_formats import WeightFormat


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """The model to inspect and the run's prompts. Sent as JSON."""

    folder: str  # as returned by model_loader.locate
    mode: str  # "auto", "chat" or "completion"
    chats: list[list[dict[str, str]]]  # messages of every task
    texts: list[tuple[str, str | None]]  # raw prompt of every task, and its suffix if it has a gap to fill
    device: str  # "cpu" or "cuda"
    weights: WeightFormat  # in memory while decoding, regardless of the files
    rows: int | None
    max_new_tokens: int
    share: int
    trust_remote_code: bool
    free_bytes: int | None = None  # of a replica's GPUs; None: unknown, or no GPU


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Facts about a model. Sent as JSON."""

    mode: str  # "chat" or "completion"
    template_fault: str  # why prompts cannot be built; empty if they can
    begins: list[str]  # the first tokens of a prompt
    bos: str | None
    ends: list[str]  # tokens that end a text
    pad: str | None
    longest_prompt: int  # tokens
    context_tokens: int
    weight_bytes: int
    needs: str  # rows and memory of the weights, as text
    rows: int
