"""The messages to and from a replica: requests, replies and progress.

They are Structs instead of dataclasses because they cross process boundaries as MessagePack, distinguished by a tag.
"""

from typing import Any, Literal

from msgspec import Struct

FinishReason = Literal["stop", "length"]


class Message(Struct, frozen=True):
    """One chat turn."""

    role: Literal["system", "user", "assistant"]
    content: str


class Thinking(Struct, frozen=True):
    """The texts around a model's thoughts, which precede its answer, and the limit on them."""

    start: str
    end: str
    budget_tokens: int | None = None  # once the output has this many tokens, an open thought is ended; None: no limit


class Sampling(Struct, frozen=True):
    """Sampling parameters. Decoding is greedy if do_sample is false; only then are beams allowed."""

    max_new_tokens: int
    do_sample: bool = True
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0: no limit
    repetition_penalty: float = 1.0
    num_beams: int = 1
    stop: tuple[str, ...] = ()  # the returned text ends before the first of these
    min_p: float = 0.0  # least probability of a token, relative to the likeliest one
    presence_penalty: float = 0.0  # subtracted from the logits of tokens that occur in the output
    frequency_penalty: float = 0.0  # the same, for each time that they occur
    logit_bias: tuple[tuple[int, float], ...] = ()  # (token id, what is added to its logit)


class Request(Struct, frozen=True):
    """One job as a replica needs it: chat messages or raw text, never both."""

    job_id: str
    seed: int  # 64 bits, specific to this job
    sampling: Sampling
    messages: tuple[Message, ...] = ()
    text: str | None = None  # completion mode
    suffix: str | None = None  # text after the completion, which fills the gap between both; None: there is no gap
    stream: bool = False  # whether to send Pieces while the text grows
    share: bool = True  # whether it may use what is computed for other requests
    template_kwargs: dict[str, Any] = {}  # arguments of the chat template
    prefill: str = ""  # beginning of the assistant's message, which the model continues; not part of the reply's text
    thinking: Thinking | None = None  # None: thoughts are part of the text
    adapter: str = ""  # name of the LoRA adapter that answers; "": none
    marks: bool = False  # whether the reply says what its first tokens completed


class Piece(Struct, frozen=True, tag=True):
    """New text of a streamed request. All pieces together are a prefix of the reply's text, and of its reasoning."""

    job_id: str
    text: str
    output_tokens: int  # of the answer so far
    prompt_tokens: int
    reasoning: str = ""  # new text of the thought before the answer


class Reply(Struct, frozen=True, tag=True):
    """The model's reply to one request. Times count from submission, on the worker's clock."""

    job_id: str
    text: str
    prompt_tokens: int
    output_tokens: int
    queue_s: float
    ttft_s: float
    latency_s: float
    finish_reason: str  # a FinishReason; servers may use other words, or "" for none
    note: str = ""  # describes replaced characters, if any
    computed_tokens: int | None = None  # output tokens computed for this job alone; None if unknown
    reasoning: str = ""  # the thoughts before the text
    reasoning_tokens: int | None = None  # of output_tokens, those up to the end of the thoughts; None if unknown
    marks: tuple[tuple[int, int], ...] = ()  # (output tokens, characters of the text that they completed)


class Refusal(Struct, frozen=True, tag=True):
    """One request failed, but the replica is still running. `retry`: whether another attempt can help."""

    job_id: str
    reason: str
    retry: bool


Answer = Reply | Refusal


class ReplicaInfo(Struct, frozen=True):
    """One loaded replica, for the manifest and for dispatch."""

    engine: str
    model: str
    device: str  # device of the parameters, as seen by the worker: "cuda:0", "cpu"
    rows: int  # sequences decoded at once
    max_context_tokens: int  # prompt and output together
    chat_template_sha256: str | None  # None if there is no template, or a server does not reveal it
    weights: str  # "nf4", "nf4, double-quantized", "int8", "bf16", "gptq int4", "gguf Q4_K_M", "none"
    compute_dtype: str
    memory_mb: float  # of the weights and buffers, with the scales of quantized ones
    load_s: float
    rows_mb: float = 0.0  # upper bound for the KV cache of all rows
    decoding: str = ""  # how rows are decoded, and by which kernels
    steady: bool = False  # whether a reply is independent of the other rows
    before_load_mb: float | None = None  # memory of its process before loading, in MiB
    versions: dict[str, str] = {}
    vocabulary: int | None = None  # number of tokens that its tokenizer knows; None if unknown
    thinking: Thinking | None = None  # markers of its model's family; None if it has none
    chats: bool = False  # accepts messages although its template is unknown here
    fills_gaps: bool = False  # accepts a suffix
    loaded_bytes_per_weight: float | None = None  # in the format of the weights, before any unpacking
    bytes_per_weight: float | None = None  # in memory while decoding

    @property
    def takes_chat(self) -> bool:
        return self.chats or self.chat_template_sha256 is not None


class Speculation(Struct, frozen=True):
    """Counts of speculative decoding."""

    verifications: int  # steps in which the model checked drafted tokens, per row
    accepted_tokens: int  # drafted tokens that were kept
    draft_tokens: int | None  # None if unknown


class WorkerProgress(Struct, frozen=True, tag=True):
    """A sign of life: one per step of loading, then at most one per second while the replica decodes."""

    rows_in_use: int
    waiting: int
    output_tokens: int  # delivered since the worker started
    loading: str = ""  # the step of loading that has begun; empty once the replica is ready
    computed_tokens: int | None = None  # output tokens that went through the model; None if unknown
    speculation: Speculation | None = None  # since the worker started; None if nothing is drafted, or if unknown
