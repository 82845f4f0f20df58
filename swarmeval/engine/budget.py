"""How long a row may grow and how many rows fit: estimated from the model's shape and the memory that is free."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

MOST_ROWS = {"cpu": 240, "cuda": 64}  # on a CPU more rows share the reading of the weights; see RESULTS.md
PROMPT_TOKENS = 1024  # what a prompt is estimated to take; HumanEval's longest is about half of it
SHARE = 0.5  # of the free memory; the rest is for activations, logits and whatever else runs
UNSTATED_CONTEXT_TOKENS = 32768  # for models that state no limit
NF4_SHARE = 0.3  # of 16-bit weights: half a byte each, their scales, and the layers that stay as they are


@dataclass(frozen=True, slots=True)
class Budget:
    """What a replica will take at most, estimated before it is loaded."""

    rows: int
    row_tokens: int  # prompt and output of one row
    context_tokens: int  # the most tokens that one request may have
    token_bytes: int  # keys and values of one token
    weight_bytes: int

    @property
    def tokens(self) -> int:
        """For whose keys and values there is room in all."""
        return max(self.rows * self.row_tokens, self.context_tokens)

    def __str__(self) -> str:
        rows_gb = self.rows * self.row_tokens * self.token_bytes / 1e9
        return (
            f"{self.rows} rows x {self.row_tokens:,} tokens x {self.token_bytes / 1e3:.1f} kB = {rows_gb:.2f} GB "
            f"at most, and weights of about {self.weight_bytes / 1e9:.2f} GB"
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
    """The budget of one of `share` replicas on this machine's memory; without `rows`, as many as pay and fit.

    `config` is the model's, `weight_bytes` what its weights will take. Longest requests are bounded by the model's
    context, and by the memory where that is less.
    """
    context = context_tokens(config)
    row = min(context, PROMPT_TOKENS + max_new_tokens)
    token = token_bytes(config, dtype)
    free = (SHARE * free_bytes(device) - weight_bytes) // share if device == "cpu" else SHARE * free_bytes(device)
    most = MOST_ROWS["cpu" if device == "cpu" else "cuda"]
    rows = rows or int(max(1, min(most, free // (row * token))))
    return Budget(rows, row, int(min(context, max(row * rows, free // token))), token, weight_bytes)


def context_tokens(config: Any) -> int:
    """The most tokens that prompt and output may have together, for this model."""
    return int(getattr(config.get_text_config(), "max_position_embeddings", None) or UNSTATED_CONTEXT_TOKENS)


def token_bytes(config: Any, dtype: torch.dtype) -> int:
    """What the keys and values of one token of one row take, in bytes."""
    config = config.get_text_config()
    query_heads = config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or query_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // query_heads
    return int(2 * config.num_hidden_layers * heads * head_size * dtype.itemsize)


def weight_bytes(folder: str, dtype: torch.dtype, four_bit: bool) -> int:
    """What weights of 16 bits a number, as most are stored, will take; 0 where there are no such files."""
    stored = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
    return int(stored * (NF4_SHARE if four_bit else dtype.itemsize / 2))


def free_bytes(device: str) -> int:
    """Memory that is free where the rows will live."""
    if device != "cpu":
        return torch.cuda.mem_get_info()[0]
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
