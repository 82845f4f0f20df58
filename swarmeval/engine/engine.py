"""The decode loop: admits waiting requests to rows, advances every row by one token per step, evicts finished rows.

Holds scheduling, timing and limits. Decoding (paged, slots, separate), token choice (sampler) and stop conditions
(stopping) are in modules of their own.
"""

import logging
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from swarmeval.engine import beams
from swarmeval.engine.decoder import Decoder
from swarmeval.engine.draw import NO_TOKEN
from swarmeval.engine.native import Kernels
from swarmeval.engine.sampler import Choice, Sampler
from swarmeval.engine.stopping import Growth, StopStrings, eos_ids
from swarmeval.engine.tokens import Detokenizer, PromptError, chat_ids, text_ids
from swarmeval.monitor.tracing.phases import DECODE, PREFILL, Phases
from swarmeval.requests import Answer, FinishReason, Piece, Refusal, ReplicaInfo, Reply, Request, WorkerProgress

log = logging.getLogger("swarmeval")

NO_NUMBERS = "the model's logits are not numbers (nan); its weights do not suit this compute dtype or are damaged"
PREFILL_TOKENS = 2048  # new prompt tokens admitted in one step, so that step() returns soon


@dataclass(slots=True)
class _WaitingRequest:
    request: Request
    submitted: float  # time.perf_counter(), like all times here
    sent: int = 0  # characters already streamed, if the request was restarted


@dataclass(slots=True)
class _RunningRequest:
    """One request being answered."""

    request: Request
    prompt: tuple[int, ...]
    submitted: float
    admitted: float
    detokenizer: Detokenizer
    stops: StopStrings
    growth: Growth | None  # for streamed requests only
    output: list[int] = field(default_factory=list)  # without the end-of-text token
    first_token: float = 0.0
    last_token: float = 0.0  # the last token of the text, so not the end-of-text token

    def take(self, token: int, eos: Collection[int], now: float) -> FinishReason | None:
        """Append a token; return the finish reason if the row ends here, otherwise None."""
        self.first_token = self.first_token or now
        self.last_token = self.last_token or now
        if token in eos:
            return "stop"
        self.last_token = now
        self.output.append(token)
        if self.stops.reached(self.output):
            return "stop"
        return "length" if len(self.output) >= self.request.sampling.max_new_tokens else None

    def reply(self, reason: FinishReason) -> Reply:
        text, stopped = self.stops.cut(self.detokenizer.text(self.output))
        return Reply(
            job_id=self.request.job_id,
            text=text,
            prompt_tokens=len(self.prompt),
            output_tokens=len(self.output),
            computed_tokens=len(self.output),
            queue_s=self.admitted - self.submitted,
            ttft_s=self.first_token - self.submitted,
            latency_s=self.last_token - self.submitted,
            finish_reason="stop" if stopped else reason,
        )


class Engine:
    """A Replica over a transformers model. `output_tokens` excludes the end-of-text token.

    If memory runs out, the engine drops its rows, halves their number and restarts their requests. If it runs out with
    one row left, step() raises torch.OutOfMemoryError and the worker must exit.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        decoder: Decoder,
        info: ReplicaInfo,
        kernels: Kernels | None = None,
        phases: Phases | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._decoder = decoder
        self._info = info
        self._eos = eos_ids(model, tokenizer)
        self._kernels = kernels
        self._most_rows = info.rows
        self._sampler = Sampler(info.rows, model.device, kernels)
        self._waiting: deque[_WaitingRequest] = deque()
        self._rows: list[_RunningRequest] = []  # row i is row i of decoder and sampler
        self._answers: list[Answer] = []  # produced in this step so far
        self._output_tokens = 0
        self._phases = phases or Phases()
        if model.device.type == "cuda":
            self._phases.gauge("cuda_mb", lambda: torch.cuda.memory_allocated(model.device) / (1 << 20))

    def info(self) -> ReplicaInfo:
        return self._info

    def submit(self, request: Request) -> None:
        self._waiting.append(_WaitingRequest(request, time.perf_counter()))

    @torch.inference_mode()
    def step(self) -> list[Answer]:
        short = False
        try:
            self._admit()
            if self._rows:
                self._phases.enter(DECODE)
                self._extend(self._decoder.decode([row.output[-1] for row in self._rows]), first=0)
        except torch.OutOfMemoryError:
            if self._most_rows == 1:
                raise
            short = True
        if short:  # outside of the handler: until it ends, the error keeps the step's tensors alive
            self._begin_again()
        answers, self._answers = self._answers, []
        return answers

    def pieces(self) -> list[Piece]:
        return [
            Piece(row.request.job_id, text, len(row.output), len(row.prompt))
            for row in self._rows
            if row.growth is not None and (text := row.growth.more(row.output))
        ]

    def drop_waiting(self) -> list[str]:
        dropped = [waiting.request.job_id for waiting in self._waiting]
        self._waiting.clear()
        return dropped

    @torch.inference_mode()
    def cancel(self, job_ids: Collection[str]) -> None:
        cancelled = set(job_ids)
        self._waiting = deque(waiting for waiting in self._waiting if waiting.request.job_id not in cancelled)
        self._evict([index for index, row in enumerate(self._rows) if row.request.job_id in cancelled])

    def progress(self) -> WorkerProgress:
        return WorkerProgress(
            len(self._rows), len(self._waiting), self._output_tokens, computed_tokens=self._output_tokens
        )

    def busy(self) -> bool:
        return bool(self._rows or self._waiting)

    def _begin_again(self) -> None:
        """Halve the rows and requeue their requests first. Each request has its own seed, so replies do not change."""
        self._most_rows = max(1, self._most_rows // 2)
        log.warning("out of memory: reduced to %d rows; requests in progress are restarted", self._most_rows)
        self._waiting.extendleft(
            _WaitingRequest(row.request, row.submitted, row.growth.sent if row.growth else 0)
            for row in reversed(self._rows)
        )
        self._output_tokens -= sum(len(row.output) for row in self._rows)
        self._rows = []
        self._decoder.clear()
        self._sampler = Sampler(self._most_rows, self.model.device, self._kernels)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _admit(self) -> None:
        """Fill the free rows with waiting requests and choose the first token of each."""
        first, tokens = len(self._rows), PREFILL_TOKENS
        while self._waiting and tokens > 0 and len(self._rows) < self._most_rows:
            self._phases.enter(PREFILL)
            waiting = self._waiting.popleft()
            try:
                row = self._open(waiting)
            except PromptError as error:
                self._answers.append(Refusal(waiting.request.job_id, str(error), retry=False))
                continue
            self._rows.append(row)  # before anything allocates: _begin_again requeues only what is in _rows
            if row.request.sampling.num_beams > 1:
                self._answers.append(self._search_beams(row))
                self._rows.pop()
                break
            cost = self._decoder.join(row.prompt, row.request.sampling.max_new_tokens)
            if cost is None:
                self._waiting.appendleft(waiting)
                self._rows.pop()
                break
            tokens -= cost
        if first < len(self._rows):
            logits = self._decoder.prefill()
            for row in self._rows[first:]:
                self._sampler.admit(_choice(row.request), row.prompt)
            self._extend(logits, first)

    def _open(self, waiting: _WaitingRequest) -> _RunningRequest:
        """Tokenize a request and check it. Raises PromptError if the model cannot answer it."""
        admitted = time.perf_counter()
        request = waiting.request
        if request.text is not None:
            prompt = text_ids(self.tokenizer, request.text)
        else:
            prompt = chat_ids(self.tokenizer, [{"role": m.role, "content": m.content} for m in request.messages])
        most = request.sampling.max_new_tokens
        if not prompt:
            raise PromptError("the prompt is empty and the tokenizer adds no BOS token")
        if len(prompt) + most > self._info.max_context_tokens:
            raise PromptError(
                f"the prompt has {len(prompt)} tokens and max_new_tokens is {most}; "
                f"together they exceed the context of {self._info.max_context_tokens} tokens"
            )
        if request.sampling.num_beams > 1 and request.sampling.do_sample:
            raise PromptError("num_beams above 1 requires do_sample: false")
        detokenizer = Detokenizer(self.tokenizer, prompt)
        stops = StopStrings(detokenizer, request.sampling.stop)
        return _RunningRequest(
            request=request,
            prompt=prompt,
            submitted=waiting.submitted,
            admitted=admitted,
            detokenizer=detokenizer,
            stops=stops,
            growth=Growth(detokenizer, stops, waiting.sent) if request.stream else None,
        )

    def _extend(self, logits: Tensor, first: int) -> None:
        """Choose the next token of rows first, first + 1, ... from their logits; answer and evict the rows that end."""
        tokens = self._sampler.choose(logits, first)
        now = time.perf_counter()
        ended = []
        for index, token in enumerate(tokens, first):
            row = self._rows[index]
            if token == NO_TOKEN:
                self._answers.append(Refusal(row.request.job_id, NO_NUMBERS, retry=False))
                ended.append(index)
                continue
            before = len(row.output)
            reason = row.take(token, self._eos, now)
            self._output_tokens += len(row.output) - before
            if reason is not None:
                self._answers.append(row.reply(reason))
                ended.append(index)
        self._evict(ended)

    def _evict(self, indexes: Sequence[int]) -> None:
        for index in sorted(indexes, reverse=True):  # from the end, so that the row moved into a gap is one that stays
            self._decoder.evict(index)
            self._sampler.evict(index)
            self._rows[index] = self._rows[-1]
            self._rows.pop()

    def _search_beams(self, row: _RunningRequest) -> Reply:
        """Answer a beam-search request outside the rows, in one call: its first and last token get the same time."""
        self._phases.enter(DECODE)
        sampling = row.request.sampling
        tokens = beams.search(
            self.model, row.prompt, sampling.num_beams, sampling.max_new_tokens, sampling.repetition_penalty, self._eos
        )
        now = time.perf_counter()
        row.first_token = row.last_token = now
        ended = next((place for place, token in enumerate(tokens) if token in self._eos), None)
        row.output = tokens[:ended]
        self._output_tokens += len(row.output)
        return row.reply("length" if ended is None else "stop")


def _choice(request: Request) -> Choice:
    sampling = request.sampling
    return Choice(
        do_sample=sampling.do_sample,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        repetition_penalty=sampling.repetition_penalty,
        seed=request.seed,
    )
