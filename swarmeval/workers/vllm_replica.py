"""A replica on top of vLLM's engine, inside the worker process. The only module that imports vllm (user-installed).

Requests queue here rather than in vLLM, so that started and waiting requests can be told apart. Prompts are rendered
as for the built-in engine. Detokenization, stop strings and finish reasons come from vLLM, unless the model thinks.
"""

import dataclasses
import functools
import importlib
import os
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from swarmeval.engine.branches import Member, Trees
from swarmeval.engine.opening import Opener
from swarmeval.engine.text import chat_template, thoughts
from swarmeval.engine.text.infilling import fills_gaps
from swarmeval.engine.text.thoughts import Parts
from swarmeval.engine.text.tokens import PromptError
from swarmeval.errors import DeviceError, ModelUnavailable
from swarmeval.monitor.tracing.phases import DECODE, Phases
from swarmeval.requests import (
    Answer,
    FinishReason,
    Piece,
    Refusal,
    ReplicaInfo,
    Request,
    Thinking,
    WorkerProgress,
)
from swarmeval.weight_formats import dtype_name
from swarmeval.workers import speculation, vllm_settings
from swarmeval.workers.replica_spec import ReplicaSpec

SETTINGS = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine runs in this process
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # bound threads would have to wait for other processes on their core
    "VLLM_CPU_KVCACHE_SPACE": "4",  # GiB
}


def load(spec: ReplicaSpec, phases: Phases | None = None) -> "VllmReplica":
    """Load the model into vLLM. Raises ModelUnavailable or DeviceError."""
    began = time.perf_counter()
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import model_loader  # first: it silences messages that torch and related packages print at import

    folder = model_loader.folder_of(spec.model)
    import torch

    from swarmeval.engine.budget import context_tokens, weight_bytes

    numbers = range(torch.cuda.device_count()) if spec.device != "cpu" else ()
    gpus = [torch.cuda.get_device_properties(number) for number in numbers]
    vllm_settings.name_gpu_by_number(os.environ)  # CUDA has begun, so this changes nothing for it
    dtype = model_loader.compute_dtype(spec.device, spec.weights)
    config = model_loader.config_of(folder, spec.trust_remote_code)
    limited = _limited_thinking(folder, spec)
    arguments = vllm_settings.engine_arguments(folder, spec, gpus, dtype, context_tokens(config), limited)
    try:
        engine = _engine(arguments, spec.vllm_args)
    except (LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        reason = vllm_settings.fault(error)
        if isinstance(error, LookupError | TypeError | ValueError):
            raise ModelUnavailable(f"{spec.model}: vLLM cannot serve it ({reason})") from error
        raise DeviceError(f"{spec.model}: vLLM did not start ({reason}); see run.log") from error
    tokenizer = engine.get_tokenizer()
    chat_template.use(tokenizer, spec.chat_template, spec.chat_template_kwargs)
    info = ReplicaInfo(
        engine="vllm",
        model=spec.model,
        device=spec.device,
        rows=arguments["max_num_seqs"],
        max_context_tokens=int(engine.model_config.max_model_len),
        chat_template_sha256=model_loader.chat_template_sha256(tokenizer),
        weights=vllm_settings.weights_name(folder, config, spec.weights, dtype_name(dtype)),
        compute_dtype=dtype_name(dtype),
        memory_mb=weight_bytes(folder, dtype, spec.weights) / 1e6,
        load_s=time.perf_counter() - began,
        decoding=", ".join(["vLLM, prefix caching", *spec.vllm_args]),
        versions=model_loader.versions() | {"vllm": importlib.import_module("vllm").__version__},
        vocabulary=len(tokenizer),
        thinking=thoughts.markers_of(tokenizer),
        fills_gaps=fills_gaps(tokenizer),
    )
    speculates = "speculative_config" in spec.vllm_args
    return VllmReplica(engine, tokenizer, info, _make_params(), _rejections(), phases, speculates)


def _engine(arguments: dict[str, Any], given: Collection[str]) -> Any:
    """Create the engine. `given`: names of the user's own arguments. Raises ModelUnavailable for an unknown one."""
    from vllm import EngineArgs, LLMEngine

    unknown = vllm_settings.unknown_argument(given, {field.name for field in dataclasses.fields(EngineArgs)})
    if unknown is not None:
        raise ModelUnavailable(unknown)
    return LLMEngine.from_engine_args(EngineArgs(**arguments))


class VllmReplica:
    """A Replica over an LLMEngine. `output_tokens` excludes the end-of-text token."""

    def __init__(
        self,
        engine: Any,
        tokenizer: Any,
        info: ReplicaInfo,
        make_params: Callable[..., Any],
        rejections: tuple[type[Exception], ...],
        phases: Phases | None = None,
        speculates: bool = False,
    ) -> None:
        """`make_params` makes a SamplingParams of its arguments; `rejections` are what vLLM raises about a request."""
        self._engine = engine
        self._opener = Opener(tokenizer, info.max_context_tokens, Trees(share=False), {"": 0})
        self._info = info
        self._make_params = make_params
        self._rejections = rejections
        self._phases = phases or Phases()
        self._waiting: deque[tuple[Request, float]] = deque()
        self._rows: dict[str, _VllmRow] = {}
        self._pieces: list[Piece] = []  # since the last call of pieces()
        self._output_tokens = 0
        self._speculates = speculates

    def info(self) -> ReplicaInfo:
        return self._info

    def submit(self, request: Request) -> None:
        self._waiting.append((request, time.perf_counter()))

    def step(self) -> list[Answer]:
        answers: list[Answer] = []
        while self._waiting and len(self._rows) < self._info.rows:
            request, submitted = self._waiting.popleft()
            try:
                self._admit(request, submitted)
            except PromptError as error:
                answers.append(Refusal(request.job_id, str(error), retry=False))
        if not self._rows:
            return answers
        self._phases.enter(DECODE)  # includes prefill, which vLLM does in the same steps
        for output in self._engine.step():
            row = self._rows.get(output.request_id)
            if row is None:
                continue
            new, before = output.outputs[0], len(row.output)
            reason = row.take(new, time.perf_counter())
            self._output_tokens += len(row.output) - before
            if reason is not None:
                del self._rows[output.request_id]
                answers.append(row.answer(reason))
                if new.finish_reason is None:
                    self._engine.abort_request([output.request_id])
            elif row.member.request.stream and (piece := row.piece(new.text)) is not None:
                self._pieces.append(piece)
        return answers

    def pieces(self) -> list[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces

    def drop_waiting(self) -> list[str]:
        dropped = [request.job_id for request, _ in self._waiting]
        self._waiting.clear()
        return dropped

    def cancel(self, job_ids: Collection[str]) -> None:
        cancelled = set(job_ids)
        self._waiting = deque(item for item in self._waiting if item[0].job_id not in cancelled)
        if begun := [job_id for job_id in self._rows if job_id in cancelled]:
            self._engine.abort_request(begun)
            for job_id in begun:
                del self._rows[job_id]

    def progress(self) -> WorkerProgress:
        counts = speculation.of_metrics(self._engine.get_metrics()) if self._speculates else None
        return WorkerProgress(len(self._rows), len(self._waiting), self._output_tokens, speculation=counts)

    def busy(self) -> bool:
        return bool(self._rows or self._waiting)

    def _admit(self, request: Request, submitted: float) -> None:
        """Pass a request to vLLM. Raises PromptError if the model cannot answer it."""
        if (reason := vllm_settings.unsupported(request, self._speculates, self._info.device)) is not None:
            raise PromptError(reason)
        member = self._opener.member(request, submitted)
        budget = None if member.thoughts is None else member.thoughts.budget_after_marker()
        arguments = vllm_settings.sampling_arguments(request, member.tree.ends, budget)
        try:
            params = self._make_params(**arguments)
            self._engine.add_request(request.job_id, {"prompt_token_ids": list(member.tree.prompt)}, params)
        except self._rejections as error:
            raise PromptError(f"vLLM rejects the request: {error}") from error
        self._rows[request.job_id] = _VllmRow(member)


class _VllmRow:
    """One request being answered."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.output: list[int] = []  # without the end-of-text token
        self._last = 0.0
        self._text = ""

    def take(self, output: Any, now: float) -> str | None:
        """Add new output; return why the row ends here, in vLLM's words, or None."""
        member = self.member
        member.first_token = member.first_token or now
        self._text += output.text
        # If no stop string ended the text, the last token is the end-of-text token, which does not count.
        ended = output.finish_reason == "stop" and not isinstance(output.stop_reason, str)
        new = list(output.token_ids)[: len(output.token_ids) - ended]
        self._last = now if new else self._last or now
        for token in new:
            self.output.append(token)
            if member.thoughts is not None and member.finish_reason(self.output) == "stop":
                return "stop"
        reason: str | None = output.finish_reason
        return reason

    def piece(self, text: str) -> Piece | None:
        """The new text, which is `text` unless there may be thoughts; None if there is none."""
        member, thought = self.member, ""
        if member.thoughts is not None:
            text, thought = member.pieces(self.output)
        if not text and not thought:
            return None
        return Piece(member.request.job_id, text, len(self.output), len(member.tree.prompt), thought)

    def answer(self, reason: str) -> Answer:
        member = self.member
        ends: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
        if reason not in ends:
            return Refusal(member.request.job_id, f"vLLM ended the request: {reason}", retry=True)
        parts = Parts(self._text, False) if member.thoughts is None else member.parts(self.output)
        marks = member.marks(self.output) if member.request.marks else ()
        reply = member.reply(parts, len(self.output), self._last, ends[reason], marks)
        return msgspec.structs.replace(reply, computed_tokens=None)


def _make_params() -> Callable[..., Any]:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return functools.partial(SamplingParams, output_kind=RequestOutputKind.DELTA)


def _rejections() -> tuple[type[Exception], ...]:
    from vllm.exceptions import VLLMClientError

    return VLLMClientError, ValueError  # the former is not one of the latter


def _limited_thinking(folder: str, spec: ReplicaSpec) -> Thinking | None:
    """The markers of thoughts if the run limits these, which vLLM must know when it loads; None otherwise."""
    import model_loader

    stated = spec.thinking
    if stated is None or stated.budget_tokens is None:
        return None
    if stated.start:
        return stated
    tokenizer = model_loader.tokenizer_of(folder, spec.trust_remote_code)
    chat_template.use(tokenizer, spec.chat_template, spec.chat_template_kwargs)
    return thoughts.markers_of(tokenizer)
