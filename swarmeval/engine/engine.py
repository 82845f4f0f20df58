"""The decode loop: requests wait, are admitted to rows, advance a token a step, and leave the moment they are done.

Knows scheduling, clocks and limits. How rows are decoded (slots, separate), how tokens are chosen (sampler) and when a
text ends (stopping) have rooms of their own.
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
    submitted: float  # time.perf_counter(), as all times here
    sent: int = 0  # characters of its answer that were sent before it began again


@dataclass(slots=True)
class _RunningRequest:
    """One request being answered."""

    request: Request
    prompt: tuple[int, ...]
    submitted: float
    admitted: float
    detokenizer: Detokenizer
    stops: StopStrings
    growth: Growth | None  # of a streamed request
    output: list[int] = field(default_factory=list)  # without the end-of-text token
    first_token: float = 0.0
    last_token: float = 0.0  # of the text: the end-of-text token is none of it

    def take(self, token: int, eos: Collection[int], now: float) -> FinishReason | None:
        """Add a token; say why the row ends here, if it does."""
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
            queue_s=self.admitted - self.submitted,
            ttft_s=self.first_token - self.submitted,
            latency_s=self.last_token - self.submitted,
            finish_reason="stop" if stopped else reason,
        )


class Engine:
    """A Replica over a transformers model. output_tokens counts what the model said, the end-of-text token left out.

    Out of memory, it forgets its rows, begins their requests again and lets half as many run at once; with one row
    left, torch.OutOfMemoryError leaves step() and the worker must end.
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
        self._answers: list[Answer] = []  # of this step so far
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
        if short:  # only here: the error held on to what its step had allocated
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
        return WorkerProgress(len(self._rows), len(self._waiting), self._output_tokens)

    def busy(self) -> bool:
        return bool(self._rows or self._waiting)

    def _begin_again(self) -> None:
        """Half the rows; what was in them waits again, first. Seeds are the requests' own, so replies stay the same."""
        self._most_rows = max(1, self._most_rows // 2)
        log.warning("out of memory: %d rows from now on, and those that ran begin again", self._most_rows)
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
        """Fill the free rows, and give every newcomer its first token."""
        first, tokens = len(self._rows), PREFILL_TOKENS
        while self._waiting and tokens > 0 and len(self._rows) < self._most_rows:
            self._phases.enter(PREFILL)
            waiting = self._waiting.popleft()
            try:
                row = self._open(waiting)
            except PromptError as error:
                self._answers.append(Refusal(waiting.request.job_id, str(error), retry=False))
                continue
            self._rows.append(row)  # from here on the request is not lost, whatever runs out of memory
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
        """The row of a request. Raises PromptError when the model cannot take it."""
        admitted = time.perf_counter()
        request = waiting.request
        if request.text is not None:
            prompt = text_ids(self.tokenizer, request.text)
        else:
            prompt = chat_ids(self.tokenizer, [{"role": m.role, "content": m.content} for m in request.messages])
        most = request.sampling.max_new_tokens
        if not prompt:
            raise PromptError("the prompt is empty and the tokenizer begins no text by itself")
        if len(prompt) + most > self._info.max_context_tokens:
            raise PromptError(
                f"the prompt has {len(prompt)} tokens and the answer may have {most}; "
                f"the model takes {self._info.max_context_tokens} together"
            )
        if request.sampling.num_beams > 1 and request.sampling.do_sample:
            raise PromptError("num_beams above 1 works without sampling only")
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
        """Give rows first, first + 1, ... the next token each, from their logits; answer those that end."""
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
        for index in sorted(indexes, reverse=True):  # so that the last row is never one that is to leave
            self._decoder.evict(index)
            self._sampler.evict(index)
            self._rows[index] = self._rows[-1]
            self._rows.pop()

    def _search_beams(self, row: _RunningRequest) -> Reply:
        """Beams are no rows: the request is answered whole, and its first token comes with its last."""
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
