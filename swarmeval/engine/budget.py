"""Estimates of row count and row length from the model's shape and the free memory. Loads no weights."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

MOST_ROWS = {"cpu": 240, "cuda": 64}  # CPUs gain more from reading the weights once for many rows; see RESULTS.md
PROMPT_TOKENS = 1024  # assumed prompt length; HumanEval's longest prompt is about half of that
SHARE = 0.5  # of the free memory; the rest is left for activations, logits and other processes
UNSTATED_CONTEXT_TOKENS = 32768  # for models whose config states no limit
NF4_SHARE = 0.3  # of the 16-bit size: half a byte per weight, the scales, and the layers that are not quantized


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper bounds on a replica's rows, tokens and memory, estimated before it is loaded."""

    rows: int
    row_tokens: int  # prompt plus output of one row
    context_tokens: int  # the longest request: prompt plus output
    token_bytes: int  # keys and values of one token, all layers
    weight_bytes: int

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


def estimate(
    config: Any,
    dtype: torch.dtype,
    *,
    device: str,
    rows: int | None,
    max_new_tokens: int,
    weight_bytes: int,
    share: int,
) -> Budget:
    """Estimate the budget of one of `share` replicas on this machine.

    `config` is the model's config and `weight_bytes` the estimated size of its weights. Without `rows`, the row count
    is the largest that fits, up to MOST_ROWS. The model's context length and the memory both bound the longest request.
    """
    context = context_tokens(config)
    row = min(context, PROMPT_TOKENS + max_new_tokens)
    token = token_bytes(config, dtype)
    free = (SHARE * free_bytes(device) - weight_bytes) // share if device == "cpu" else SHARE * free_bytes(device)
    most = MOST_ROWS["cpu" if device == "cpu" else "cuda"]
    rows = rows or int(max(1, min(most, free // (row * token))))
    return Budget(rows, row, int(min(context, max(row * rows, free // token))), token, weight_bytes)


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


def weight_bytes(folder: str, dtype: torch.dtype, four_bit: bool) -> int:
    """Estimated size of the loaded weights, assuming 16-bit safetensors files; 0 if the folder has none."""
    stored = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
    return int(stored * (NF4_SHARE if four_bit else dtype.itemsize / 2))


def free_bytes(device: str) -> int:
    """Free memory of the device that will hold the rows, in bytes."""
    if device != "cpu":
        return torch.cuda.mem_get_info()[0]
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
