"""A replica on top of vLLM's engine, inside the worker process. The only module that imports vllm (user-installed).

Requests queue here rather than in vLLM, so that started and waiting requests can be told apart. Prompts are rendered
as for the built-in engine. Detokenization, stop strings and finish reasons come from vLLM.
"""

import dataclasses
import importlib
import os
import time
from collections import deque
from collections.abc import Collection
from typing import Any

from swarmeval.engine.infilling import end_ids, fills_gaps, prompt_ids
from swarmeval.engine.text import chat_template, thoughts
from swarmeval.engine.tokens import PromptError
from swarmeval.errors import DeviceError, ModelUnavailable
from swarmeval.monitor.tracing.phases import DECODE, Phases
from swarmeval.requests import (
    Answer,
    FinishReason,
    Piece,
    Refusal,
    ReplicaInfo,
    Reply,
    Request,
    Sampling,
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
    arguments = vllm_settings.engine_arguments(folder, spec, gpus, dtype, context_tokens(config))
    try:
        engine = _engine(arguments, spec.vllm_args)
    except (MemoryError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if isinstance(error, ValueError):
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
    return VllmReplica(engine, tokenizer, info, phases, "speculative_config" in spec.vllm_args)


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
        self, engine: Any, tokenizer: Any, info: ReplicaInfo, phases: Phases | None = None, speculates: bool = False
    ) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._info = info
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
            before = row.tokens
            reason = row.take(output.outputs[0], time.perf_counter())
            self._output_tokens += row.tokens - before
            if reason is not None:
                del self._rows[output.request_id]
                answers.append(row.answer(reason))
            elif row.stream and (text := output.outputs[0].text):
                self._pieces.append(Piece(output.request_id, text, row.tokens, row.prompt_tokens))
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
        admitted = time.perf_counter()
        prompt = prompt_ids(
            self._tokenizer, request.text, request.suffix, request.messages, request.prefill, request.template_kwargs
        )
        most, room = request.sampling.max_new_tokens, self._info.max_context_tokens
        if not prompt:
            raise PromptError("the prompt is empty and the tokenizer adds no BOS token")
        if len(prompt) + most > room:
            raise PromptError(
                f"the prompt has {len(prompt)} tokens and max_new_tokens is {most}; "
                f"together they exceed the context of {room} tokens"
            )
        if request.sampling.num_beams > 1:
            raise PromptError("vLLM does not support beam search; set num_beams: 1")
        params = _params(request, end_ids(self._tokenizer, prompt))
        self._engine.add_request(request.job_id, {"prompt_token_ids": list(prompt)}, params)
        self._rows[request.job_id] = _VllmRow(request, len(prompt), submitted, admitted)


class _VllmRow:
    """One request being answered."""

    def __init__(self, request: Request, prompt_tokens: int, submitted: float, admitted: float) -> None:
        self.tokens = 0
        self.stream = request.stream
        self._job_id = request.job_id
        self.prompt_tokens = prompt_tokens
        self._submitted = submitted
        self._admitted = admitted
        self._first = self._last = 0.0
        self._text = ""

    def take(self, output: Any, now: float) -> str | None:
        """Add new output; return vLLM's finish reason if the row ends here, otherwise None."""
        self._first = self._first or now
        self._text += output.text
        # If no stop string ended the text, the last token is the end-of-text token, which does not count.
        ended = output.finish_reason == "stop" and not isinstance(output.stop_reason, str)
        new = len(output.token_ids) - ended
        self._last = now if new > 0 else self._last or now
        self.tokens += new
        reason: str | None = output.finish_reason
        return reason

    def answer(self, reason: str) -> Answer:
        ends: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
        if reason not in ends:
            return Refusal(self._job_id, f"vLLM ended the request: {reason}", retry=True)
        return Reply(
            job_id=self._job_id,
            text=self._text,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.tokens,
            queue_s=self._admitted - self._submitted,
            ttft_s=self._first - self._submitted,
            latency_s=self._last - self._submitted,
            finish_reason=ends[reason],
        )


def _params(request: Request, ends: frozenset[int]) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        **_chosen(request.sampling),
        seed=request.seed & (2**63 - 1),  # vLLM takes a signed 64-bit integer
        max_tokens=request.sampling.max_new_tokens,
        stop=list(request.sampling.stop),
        stop_token_ids=sorted(ends),
        output_kind=RequestOutputKind.DELTA,
    )


def _chosen(sampling: Sampling) -> dict[str, Any]:
    penalties = {
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "logit_bias": dict(sampling.logit_bias) or None,
    }
    if not sampling.do_sample:
        return {"temperature": 0.0, **penalties}
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k or -1,
        "min_p": sampling.min_p,
        **penalties,
    }
