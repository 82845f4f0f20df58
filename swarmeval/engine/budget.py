"""Estimates of row count and row length from the model's shape and the free memory. Loads no weights.

On a CPU, the estimate precedes loading and subtracts the weights. On GPUs, it follows: what is free then is known.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from swarmeval.weight_formats import WeightFormat, checkpoint_format

MOST_ROWS = {"cpu": 240, "cuda": 256}
PROMPT_TOKENS = 1024  # assumed prompt length; HumanEval's longest prompt is about half of that
BYTES_PER_TOKEN = 3  # of prose and code, at least, on average
# Of the free memory, for keys and values; the rest is left for activations, logits, recorded steps and other processes.
SHARE = {"cpu": 0.5, "cuda": 0.8}
UNSTATED_CONTEXT_TOKENS = 32768  # for models whose config states no limit
# Of the 16-bit size: the weights, their scales, and the layers that are not quantized.
QUANTIZED_SHARE = {"nf4": 0.3, "int8": 0.55}


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper bounds on a replica's rows, tokens and memory."""

    rows: int
    row_tokens: int  # prompt plus output of one row
    context_tokens: int  # the longest request that is accepted: prompt plus output
    token_bytes: int  # keys and values of one token, all layers
    weight_bytes: int
    longest_tokens: int | None = None  # the longest request that this run will make; None: unknown

    @property
    def tokens(self) -> int:
        """Capacity of the KV cache, in tokens."""
        return max(self.rows * self.row_tokens, self.context_tokens)

    def __str__(self) -> str:
        rows_gb = self.rows * self.row_tokens * self.token_bytes / 1e9
        return (
            f"{self.rows} rows x {self.row_tokens:,} tokens x {self.token_bytes / 1e3:.1f} kB = {rows_gb:.2f} GB "
            f"at most, plus weights of about {self.weight_bytes / 1e9:.2f} GB"
        )


@dataclass(frozen=True, slots=True)
class DeviceRoom:
    """One device of a loaded model: how many of its layers it holds, and what is free on it."""

    layers: int
    free_bytes: int


def estimate(
    config: Any,
    dtype: torch.dtype,
    *,
    device: str,
    rows: int | None,
    max_new_tokens: int,
    weight_bytes: int,
    share: int,
    most_prompt_tokens: int | None = None,
    rooms: Sequence[DeviceRoom] | None = None,
    free: Callable[[Any], int] | None = None,
) -> Budget:
    """Estimate the budget of one of `share` replicas on this machine.

    `config` is the model's config and `weight_bytes` the size of its weights. With `rooms`, the model is loaded, and
    the device with the least room for its layers bounds the tokens. Otherwise `free` (default: free_bytes) says what is
    free on the device. Without `rows`, the row count is the largest that fits, up to MOST_ROWS. The model's context and
    the memory both bound the longest request. `most_prompt_tokens` bounds the prompts of this run, if known.
    """
    context = context_tokens(config)
    row = min(context, _usual_prompt(most_prompt_tokens) + max_new_tokens)
    token = token_bytes(config, dtype)
    kind = "cpu" if device == "cpu" else "cuda"
    if rooms is None:
        room = (SHARE[kind] * (free or free_bytes)(device) - weight_bytes) // share // token
    else:
        layers = sum(each.layers for each in rooms)
        room = min(SHARE[kind] * each.free_bytes * layers // (token * each.layers) for each in rooms)
    rows = rows or int(max(1, min(MOST_ROWS[kind], room // row)))
    if rooms is not None and room >= row:  # more rows than fit at full length, as asked for, share the room
        row = int(min(row, max(1, room // rows)))
    accepted = int(min(context, max(row * rows, room)))
    longest = accepted if most_prompt_tokens is None else min(accepted, most_prompt_tokens + max_new_tokens)
    return Budget(rows, row, accepted, token, weight_bytes, longest)


def rooms(model: Any, free: Callable[[Any], int] | None = None) -> list[DeviceRoom]:
    """The room on each device that holds layers of a loaded model. `free` (default: free_bytes) takes a device."""
    devices = {
        module.layer_idx: weight.device
        for module in model.modules()
        if isinstance(getattr(module, "layer_idx", None), int)
        and (weight := next(module.parameters(), None)) is not None
    }
    counts = Counter(devices.values()) or {model.device: 1}
    return [DeviceRoom(count, (free or free_bytes)(device)) for device, count in counts.items()]


def _usual_prompt(most_prompt_tokens: int | None) -> int:
    """The assumed prompt length. The bound counts bytes, so that prompts are much shorter than it."""
    if most_prompt_tokens is None:
        return PROMPT_TOKENS
    return min(most_prompt_tokens, max(PROMPT_TOKENS, most_prompt_tokens // BYTES_PER_TOKEN))


def context_tokens(config: Any) -> int:
    """The model's context length: the limit on prompt plus output, in tokens."""
    return int(getattr(config.get_text_config(), "max_position_embeddings", None) or UNSTATED_CONTEXT_TOKENS)


def token_bytes(config: Any, dtype: torch.dtype) -> int:
    """Size of the keys and values of one token, over all layers, in bytes."""
    config = config.get_text_config()
    query_heads = config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or query_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // query_heads
    return int(2 * config.num_hidden_layers * heads * head_size * dtype.itemsize)


def weight_bytes(folder: str, dtype: torch.dtype, weights: WeightFormat) -> int:
    """Estimated size of the loaded weights, from safetensors files in 16 bits; 0 if the folder has none.

    A checkpoint that its makers quantized is as large as its files.
    """
    stored = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
    if checkpoint_format(Path(folder)) is not None:
        return stored
    return int(stored * QUANTIZED_SHARE.get(weights, dtype.itemsize / 2))


def free_bytes(device: str | torch.device) -> int:
    """Free memory of a device, in bytes. On a GPU, it includes what torch has reserved and does not use."""
    if str(device) != "cpu":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
