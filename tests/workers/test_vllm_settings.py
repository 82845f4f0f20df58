"""The arguments of vLLM's engine, without vLLM and without a GPU."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import msgspec.structs
import pytest
import torch

from swarmeval.requests import Thinking
from swarmeval.workers.replica_spec import ReplicaSpec
from swarmeval.workers.vllm_settings import engine_arguments, quantization, unknown_argument

GIB = 1 << 30
SPEC = ReplicaSpec("vllm", "m", "cuda:0", "nf4", "auto", "off", "auto", True, None, max_new_tokens=512)


@dataclass
class Card:
    name: str
    total_memory: int


H100, A100 = Card("NVIDIA H100 80GB HBM3", 80 * GIB), Card("NVIDIA A100-SXM4-80GB", 80 * GIB)
L4 = Card("NVIDIA L4", 22 * GIB)


def arguments(*gpus: Card, context: int = 131_072, **changes: Any) -> dict[str, Any]:
    return engine_arguments("folder", msgspec.structs.replace(SPEC, **changes), gpus, torch.bfloat16, context)


@pytest.mark.parametrize(
    ("bound", "context", "length"),
    [
        (2400, 131_072, 2912),  # the KV cache of Llama 3.1's whole context takes 16 GiB
        (2400, 2912, -1),
        (2400, 2048, -1),
        (None, 131_072, -1),  # vLLM fits the length to the memory
    ],
)
def test_requests_are_as_long_as_those_of_the_run(bound: int | None, context: int, length: int) -> None:
    assert arguments(L4, context=context, most_prompt_tokens=bound)["max_model_len"] == length


@pytest.mark.parametrize(("gpu", "rows", "tokens"), [(H100, 512, 16384), (A100, 512, 8192), (L4, 256, 8192)])
def test_large_gpus_take_more_rows_and_tokens_per_step(gpu: Card, rows: int, tokens: int) -> None:
    found = arguments(gpu)
    assert (found["max_num_seqs"], found["max_num_batched_tokens"]) == (rows, tokens)
    assert arguments(gpu, rows=7)["max_num_seqs"] == 7


def test_the_smallest_gpu_of_a_sharded_model_counts() -> None:
    found = arguments(H100, L4, data_parallel=False)
    assert (found["max_num_seqs"], found["tensor_parallel_size"]) == (256, 2)
    assert "tensor_parallel_size" not in arguments(H100)


def test_on_a_cpu_prompts_are_read_whole() -> None:
    found = arguments(device="cpu", weights="auto")
    assert (found["max_num_seqs"], found["enable_chunked_prefill"]) == (64, False)
    assert "max_num_batched_tokens" not in found


def test_vllm_learns_the_markers_of_thoughts_that_have_a_limit() -> None:
    found = engine_arguments("folder", SPEC, [L4], torch.bfloat16, 4096, Thinking("[THINK]", "[/THINK]", 99))
    assert found["reasoning_config"] == {"reasoning_start_str": "[THINK]", "reasoning_end_str": "[/THINK]"}
    assert "reasoning_config" not in arguments(L4)


@pytest.mark.parametrize("code", [True, False])
def test_the_models_own_python_runs_only_where_the_setting_says_so(code: bool) -> None:
    assert arguments(L4, trust_remote_code=code)["trust_remote_code"] is code


@pytest.mark.parametrize("graphs", ["auto", "off"])
def test_without_graphs_vllm_runs_eagerly(graphs: Literal["auto", "off"]) -> None:
    assert arguments(L4, cuda_graphs=graphs)["enforce_eager"] is (graphs == "off")


@pytest.mark.parametrize(
    ("saved", "name"),
    [
        ({}, "nf4, double-quantized"),
        ({"quantization_config": {"bnb_4bit_quant_type": "nf4"}}, "nf4"),
        (
            {"quantization_config": {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}},
            "nf4, double-quantized",
        ),
    ],
)
def test_the_plugins_double_quantization_is_named(saved: dict[str, Any], name: str) -> None:
    assert quantization(SimpleNamespace(**saved)) == name


def test_the_users_arguments_reach_the_engine() -> None:
    draft = {"method": "ngram", "num_speculative_tokens": 4}
    found = arguments(L4, vllm_args={"speculative_config": draft, "kv_cache_dtype": "fp8", "max_model_len": 4096})
    assert (found["speculative_config"], found["kv_cache_dtype"], found["max_model_len"]) == (draft, "fp8", 4096)
    assert found["disable_log_stats"] is False  # else vLLM counts no accepted drafts
    assert arguments(L4)["disable_log_stats"] is True


@pytest.mark.parametrize(
    ("given", "parallel"), [({}, 2), ({"tensor_parallel_size": 1}, 1), ({"pipeline_parallel_size": 2}, None)]
)
def test_one_engine_over_all_gpus_splits_them_as_its_user_says(given: dict[str, Any], parallel: int | None) -> None:
    assert arguments(L4, L4, data_parallel=False, vllm_args=given).get("tensor_parallel_size") == parallel


def test_an_argument_that_vllm_does_not_know_is_named() -> None:
    known = ("kv_cache_dtype", "speculative_config")
    assert unknown_argument({"kv_cache_dtype": "fp8"}, known) is None
    assert unknown_argument({"speculativ_config": {}}, known) == (
        "vllm.args.speculativ_config is not an argument of vLLM's engine; did you mean 'speculative_config'?"
    )
    assert unknown_argument({"zzz": 1}, known) == "vllm.args.zzz is not an argument of vLLM's engine; remove it"
