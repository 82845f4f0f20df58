"""What a replica is asked and what it answers.

Structs instead of dataclasses: they cross process borders as MessagePack, told apart by their tag.
"""

from typing import Literal

from msgspec import Struct

FinishReason = Literal["stop", "length"]


class Message(Struct, frozen=True):
    """One chat turn."""

    role: Literal["system", "user", "assistant"]
    content: str


class Sampling(Struct, frozen=True):
    """How tokens are chosen. Greedy when do_sample is false; beams only then."""

    max_new_tokens: int
    do_sample: bool = True
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0: no limit
    repetition_penalty: float = 1.0
    num_beams: int = 1
    stop: tuple[str, ...] = ()  # the text returned ends before the first of these


class Request(Struct, frozen=True):
    """One job as a replica needs it: chat messages or raw text, never both."""

    job_id: str
    seed: int  # 64 bits, this job's alone
    sampling: Sampling
    messages: tuple[Message, ...] = ()
    text: str | None = None  # completion mode
    stream: bool = False  # whoever asks wants to see the text grow


class Piece(Struct, frozen=True, tag=True):
    """What a streamed request's text has grown by. All pieces together are a beginning of the reply's text."""

    job_id: str
    text: str
    output_tokens: int  # of the answer so far
    prompt_tokens: int


class Reply(Struct, frozen=True, tag=True):
    """What the model answered to one request. Times count from submit, on the worker's clock."""

    job_id: str
    text: str
    prompt_tokens: int
    output_tokens: int
    queue_s: float
    ttft_s: float
    latency_s: float
    finish_reason: str  # a FinishReason; of a server also a word of its own, or "" where it says none
    note: str = ""  # what was replaced in the text so that it can be saved


class Refusal(Struct, frozen=True, tag=True):
    """One request failed while the replica lives on; `retry` says whether trying again can help."""

    job_id: str
    reason: str
    retry: bool


Answer = Reply | Refusal


class ReplicaInfo(Struct, frozen=True):
    """One loaded replica, for the manifest and for dispatch."""

    engine: str
    model: str
    device: str  # where the parameters are, as the worker sees it: "cuda:0", "cpu"
    rows: int  # sequences decoded at once
    max_context_tokens: int  # prompt and output together
    chat_template_sha256: str | None  # None: there is none, or a server keeps it to itself
    weights: str  # "nf4", "bf16", "fp16", "fp32", "none"
    compute_dtype: str
    memory_mb: float  # parameters and buffers
    load_s: float
    rows_mb: float = 0.0  # keys and values of all rows, at most
    decoding: str = ""  # how rows are decoded, and by which kernels
    steady: bool = False  # a reply does not depend on the rows beside it
    before_load_mb: float | None = None  # what its process held, in MiB
    versions: dict[str, str] = {}
    chats: bool = False  # takes messages though its template is not known here

    @property
    def takes_chat(self) -> bool:
        return self.chats or self.chat_template_sha256 is not None


class WorkerProgress(Struct, frozen=True, tag=True):
    """A sign of life: one per step of loading, then at most one per second while the replica decodes."""

    rows_in_use: int
    waiting: int
    output_tokens: int  # since the worker started
    loading: str = ""  # the step of loading that has begun; empty once the replica is ready
