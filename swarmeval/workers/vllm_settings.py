"""The arguments of vLLM's engine for a replica. Imports no part of vLLM; read beside vLLM 0.32."""

import difflib
from collections.abc import Collection, Iterable, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from swarmeval.requests import Request, Sampling, Thinking
from swarmeval.weight_formats import DOUBLE, WeightFormat, checkpoint_format
from swarmeval.workers.replica_spec import ReplicaSpec

CPU_ROWS = 64
LARGE_BYTES = 70 << 30  # of a GPU's memory: vLLM itself begins here to take more tokens per step
FIT_MEMORY = -1  # as max_model_len: the longest length, up to the model's, for which there is memory
GPU_NUMBER = "SWARMEVAL_GPU_NUMBER"  # environment variable: NVML's number of the GPU that has the worker's MIG instance


class Gpu(Protocol):
    """The properties of a GPU, as torch reports them."""

    name: str
    total_memory: int  # bytes


def engine_arguments(
    folder: str,
    spec: ReplicaSpec,
    gpus: Sequence[Gpu],
    dtype: Any,
    context_tokens: int,
    thinking: Thinking | None = None,
) -> dict[str, Any]:
    """The arguments of vllm.EngineArgs; `gpus` are those that the worker sees, none on a CPU.

    `thinking`: the markers of thoughts that have a limit.
    """
    arguments: dict[str, Any] = {
        "model": folder,
        "dtype": str(dtype).removeprefix("torch."),
        "max_num_seqs": spec.rows or _rows(gpus),
        "max_model_len": _longest(spec, context_tokens),
        "enable_prefix_caching": True,
        "seed": 0,
        "trust_remote_code": spec.trust_remote_code,
        "enforce_eager": spec.cuda_graphs == "off",
        "generation_config": "vllm",  # ignores the sampling defaults of the model's authors
        "disable_log_stats": "speculative_config" not in spec.vllm_args,  # they hold the acceptance of drafts
    }
    if thinking is not None:
        arguments["reasoning_config"] = {
            "reasoning_start_str": thinking.start, "reasoning_end_str": thinking.end
        }  # fmt: skip
    if spec.weights == "nf4":
        arguments |= {"quantization": "bitsandbytes", "load_format": "bitsandbytes"}
    if not gpus:
        # On a CPU, vLLM 0.32 crashes on chunked prefill with a seed: "CPU Generator does not use offset"
        return arguments | {"enable_chunked_prefill": False} | spec.vllm_args
    # What vLLM takes for its LLM class; for an engine made directly, its default is 2048. More slows an A100 down.
    large = _is_large(gpus) and "A100" not in gpus[0].name
    arguments["max_num_batched_tokens"] = 16384 if large else 8192
    if not spec.data_parallel and not {"tensor_parallel_size", "pipeline_parallel_size"} & spec.vllm_args.keys():
        arguments["tensor_parallel_size"] = len(gpus)
    return arguments | spec.vllm_args


def unknown_argument(given: Iterable[str], known: Collection[str]) -> str | None:
    """One line about the first of the user's arguments that vLLM's engine does not know; None if it knows all."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else "remove it"
            return f"vllm.args.{name} is not an argument of vLLM's engine; {remedy}"
    return None


def fault(error: Exception) -> str:
    """One line about an error that vLLM raised as it started."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        words = str(first["msg"]).removeprefix("Value error, ").splitlines()[0]
        return f"{'.'.join([error.title, *map(str, first['loc'])])}: {words}"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def unsupported(request: Request, speculates: bool, device: str) -> str | None:
    """The reason why vLLM cannot answer with these settings; None if it can."""
    if request.sampling.num_beams > 1:
        return "vLLM does not support beam search; set num_beams: 1"
    if not speculates or device != "cpu":
        return None
    if request.thinking is not None and request.thinking.budget_tokens is not None:
        # The forced end marker can land in the row of the next request.
        return "vLLM 0.32 may end a thought in the wrong reply where it speculates on a CPU; remove the thinking budget"
    if request.sampling.do_sample:
        # There, expand_kernel writes to a copy: rows get what happens to be in memory.
        return "vLLM 0.32 loses temperature, top_k and top_p where it speculates on a CPU; set do_sample: false"
    return None


def sampling_arguments(request: Request, ends: frozenset[int], thinking_budget: int | None) -> dict[str, Any]:
    """The arguments of vllm.SamplingParams; `ends` are tokens that end an answer, besides EOS.

    `thinking_budget`: tokens of a thought after its start marker, wherever that is, which is how vLLM counts.

    Stop strings end answers, not the thoughts before them, and vLLM does not tell one from the other.
    """
    sampling = request.sampling
    return {
        **_chosen(sampling),
        "seed": request.seed & (2**63 - 1),  # vLLM takes a signed 64-bit integer
        "max_tokens": sampling.max_new_tokens,
        "stop": list(sampling.stop) if request.thinking is None else [],
        "stop_token_ids": sorted(ends),
        "thinking_token_budget": thinking_budget,
    }


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


def quantization(config: Any) -> str:
    """The kind of a model's 4-bit weights in vLLM: vllm-bnb-plugin quantizes the scales too, unless the model is saved
    in 4 bits already and keeps its own.
    """
    saved = getattr(config, "quantization_config", None)
    values = saved if isinstance(saved, dict) else saved.to_dict() if saved is not None else {}
    kind = values.get("bnb_4bit_quant_type", "nf4")
    return f"{kind}{DOUBLE if values.get('bnb_4bit_use_double_quant', not values) else ''}"


def weights_name(folder: str, config: Any, weights: WeightFormat, dtype: str) -> str:
    """The format of the weights that vLLM loads, for the manifest. `dtype`: the short name of the compute dtype."""
    if weights == "nf4":
        return quantization(config)
    made = checkpoint_format(Path(folder))
    return dtype if made is None else made.name


def name_gpu_by_number(environ: MutableMapping[str, str]) -> None:
    """Replace the UUID of a MIG instance in CUDA_VISIBLE_DEVICES by the number of its GPU, for vLLM.

    Call it once CUDA has begun: CUDA reads the variable once and keeps to the instance. vLLM 0.32 would look the UUID
    up in NVML, get the instance's number on its GPU, and take that for the number of a GPU.
    """
    if GPU_NUMBER in environ:
        environ["CUDA_VISIBLE_DEVICES"] = environ[GPU_NUMBER]


def _rows(gpus: Sequence[Gpu]) -> int:
    if not gpus:
        return CPU_ROWS
    return 512 if _is_large(gpus) else 256  # vLLM records graphs for up to 512


def _is_large(gpus: Sequence[Gpu]) -> bool:
    return min(gpu.total_memory for gpu in gpus) >= LARGE_BYTES


def _longest(spec: ReplicaSpec, context_tokens: int) -> int:
    """The longest request of the run, so that vLLM does not insist on memory for the model's whole context."""
    if spec.most_prompt_tokens is None:
        return FIT_MEMORY
    longest = spec.most_prompt_tokens + spec.max_new_tokens
    return longest if longest < context_tokens else FIT_MEMORY
