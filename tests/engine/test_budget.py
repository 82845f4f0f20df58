"""The plan of a replica's memory: what is free, per device, bounds its rows and tokens."""

from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from swarmeval.engine import budget
from swarmeval.engine.budget import DeviceRoom
from tests.support import tiny_model

GB = 10**9
LLAMA_8B = LlamaConfig(
    hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
    max_position_embeddings=131_072,
)  # fmt: skip


def plan(device: str = "cuda:0", rows: int | None = None, max_new_tokens: int = 512, **more: Any) -> budget.Budget:
    return budget.estimate(
        LLAMA_8B, torch.bfloat16, device=device, rows=rows, max_new_tokens=max_new_tokens, share=1,
        **{"weight_bytes": 0} | more,
    )  # fmt: skip


def tokens_bytes(found: budget.Budget) -> int:
    return found.tokens * found.token_bytes


def test_a_loaded_gpu_has_as_many_rows_as_fit_up_to_256() -> None:
    assert plan(rooms=[DeviceRoom(32, 74 * GB)]).rows == 256
    small = plan(rooms=[DeviceRoom(32, 8 * GB)])
    assert 1 < small.rows < 64
    assert tokens_bytes(small) <= 8 * GB
    assert plan(rooms=[DeviceRoom(32, 100)]).rows == 1


@pytest.mark.parametrize("free_gb", [2, 8, 20, 74])
def test_the_plan_of_a_gpu_never_exceeds_what_is_free_after_loading(free_gb: int) -> None:
    assert tokens_bytes(plan(rooms=[DeviceRoom(32, free_gb * GB)])) < free_gb * GB


def test_the_fullest_gpu_bounds_a_sharded_model() -> None:
    even = plan(rooms=[DeviceRoom(16, 20 * GB), DeviceRoom(16, 20 * GB)])
    assert (
        plan(rooms=[DeviceRoom(16, 20 * GB), DeviceRoom(16, 4 * GB)]).rows == plan(rooms=[DeviceRoom(32, 8 * GB)]).rows
    )
    assert plan(rooms=[DeviceRoom(24, 20 * GB), DeviceRoom(8, 20 * GB)]).rows < even.rows


def test_before_loading_the_weights_are_subtracted() -> None:
    def free(device: object) -> int:
        return {"cpu": 24 * GB, "cuda:0": 24 * GB}[str(device)]

    for device in ("cpu", "cuda:0"):
        full, none = plan(device, weight_bytes=0, free=free), plan(device, weight_bytes=24 * GB, free=free)
        assert none.rows == 1 < full.rows


def test_layers_are_found_where_they_are() -> None:
    model = tiny_model.model(num_hidden_layers=3)
    model.model.layers[1].to("meta")
    found = budget.rooms(model, {torch.device("cpu"): 7, torch.device("meta"): 9}.__getitem__)
    assert sorted(found, key=lambda room: room.layers) == [DeviceRoom(1, 9), DeviceRoom(2, 7)]


def test_the_requests_of_a_run_are_bounded_by_its_prompts() -> None:
    rooms = [DeviceRoom(32, 74 * GB)]
    assert plan(rooms=rooms, most_prompt_tokens=2500).longest_tokens == 3012
    assert plan(rooms=rooms, most_prompt_tokens=200_000).longest_tokens == 131_072
    unknown = plan(rooms=rooms)
    assert unknown.longest_tokens == unknown.context_tokens == 131_072  # every request that is accepted


@pytest.mark.parametrize(("bound", "prompt"), [(None, 1024), (300, 300), (2500, 1024), (30_000, 10_000)])
def test_long_prompts_make_long_rows(bound: int | None, prompt: int) -> None:
    """The bound counts bytes, and a token has three or more of them."""
    assert plan(rooms=[DeviceRoom(32, 74 * GB)], most_prompt_tokens=bound).row_tokens == prompt + 512


def test_a_number_of_rows_in_the_settings_is_obeyed_within_the_memory() -> None:
    found = plan(rows=300, rooms=[DeviceRoom(32, 8 * GB)])
    assert found.rows == 300
    assert tokens_bytes(found) <= 8 * GB
