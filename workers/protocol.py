"""What coordinator, workers and replicas say to each other. Knows no transport and no model.

`Replica` is synchronous and lives inside a worker: an engine implements it. `Worker` is its asynchronous
stand-in outside, whatever carries the messages (local process, Ray actor, endpoint). Structs instead of
dataclasses because they cross process borders as MessagePack, told apart by their tag.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from types import TracebackType
from typing import Literal, Protocol, Self

from msgspec import Struct

FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]  # the last two of servers only


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
    finish_reason: FinishReason


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


class Progress(Struct, frozen=True, tag=True):
    """A sign of life, sent at most once a second while the replica steps."""

    rows_in_use: int
    waiting: int
    output_tokens: int  # since the worker started


class Replica(Protocol):
    """One loaded model on one device. Not thread-safe; every call returns soon."""

    def info(self) -> ReplicaInfo: ...

    def submit(self, request: Request) -> None:
        """Put a request at the end of the queue; the clock of its queue time starts."""

    def step(self) -> list[Answer]:
        """Advance all rows by about one token, admit what fits; give what is finished."""

    def pieces(self) -> list[Piece]:
        """What streamed requests that go on have grown by since the last call."""

    def drop_waiting(self) -> list[str]:
        """Forget the requests that have not begun; give their job ids."""

    def cancel(self, job_ids: Collection[str]) -> None:
        """Forget these requests, begun or not, and free their rows. Unknown ids are ignored."""

    def progress(self) -> Progress: ...

    def busy(self) -> bool:
        """Whether step() has anything to do."""


class Worker(Protocol):
    """One replica seen from the coordinator's event loop."""

    name: str  # the physical device: "cuda:3", "cpu:0"
    pid: int | None  # of its process, where that runs on this machine

    @property
    def progress(self) -> Progress:
        """What it does now."""

    @property
    def running(self) -> bool:
        """Whether it has started and is not known to have ended."""

    async def start(self) -> ReplicaInfo:
        """Load the replica; again after a death. Raises WorkerDied, or UserError when trying again is useless."""

    def generate(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        """Yield an answer per request as each is born. May be called while others run.

        Raises WorkerDied when the worker ends or hangs; ends early for what drain() dropped. One that is closed
        before its end frees the rows of what it had asked.
        """

    def stream(self, request: Request) -> AsyncGenerator[Piece | Answer, None]:
        """The same for one request that streams: pieces, then its answer. To be closed by who leaves early."""

    async def drain(self) -> None:
        """Make the replica forget what it has not begun; what it has begun is still answered."""

    async def stop(self) -> None:
        """End the worker at once, whatever it does. Idempotent."""


class Fleet(Protocol):
    """All workers of a run; leaving the context stops them and leaves no process behind."""

    @property
    def workers(self) -> Sequence[Worker]:
        """Grows at its end when a device joins; one that is gone stays, and does not start again."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
