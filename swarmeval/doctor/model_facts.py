"""What is asked about a model before its weights are loaded, and the answer: model_probe, another process, gives it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """What to look at, as JSON."""

    folder: str  # as model_loader.locate gives it
    mode: str  # "auto", "chat" or "completion"
    chats: list[list[dict[str, str]]]  # of every task, messages
    texts: list[str]  # of every task, raw
    device: str  # "cpu" or "cuda"
    four_bit: bool  # in memory, not in the files
    rows: int | None
    max_new_tokens: int
    share: int
    trust_remote_code: bool


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What was found."""

    mode: str  # "chat" or "completion"
    template_fault: str  # why prompts cannot be made; empty when they can
    begins: list[str]  # the first tokens of a prompt
    bos: str | None
    ends: list[str]  # tokens that end a text
    pad: str | None
    longest_prompt: int  # tokens
    context_tokens: int
    weight_bytes: int
    needs: str  # rows and weights, in words
    rows: int
