"""How long a row may grow and how many rows fit: reckoned from the model's shape and the memory that is free."""

import os
from pathlib import Path
from typing import Any

import torch

from workers.prefill import KEPT_TOKENS
from workers.slots import BLOCK

MOST_ROWS = {"cpu": 128, "cuda": 64}  # on a CPU 128 give 1.2-1.4 times the tokens of 64, and 256 hardly more
PROMPT_TOKENS = 1024  # what a prompt is reckoned to take; HumanEval's longest is about half of it
SHARE = 0.5  # of the free memory; the rest is for activations, logits and other replicas on this machine
UNSTATED_CONTEXT_TOKENS = 32768  # for models that state no limit


def context_tokens(model: Any, tokenizer: Any) -> int:
    """The most tokens that prompt and output may have together."""
    stated = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    # Tokenizers without a limit state an astronomical one.
    return int(stated or min(tokenizer.model_max_length, UNSTATED_CONTEXT_TOKENS))


def auto_rows(model: Any, device: str, max_new_tokens: int, context: int) -> int:
    """As many rows as pay and fit into a share of the free memory; at least one."""
    most = MOST_ROWS["cpu" if device == "cpu" else "cuda"]
    free = SHARE * free_bytes(device) - KEPT_TOKENS * token_bytes(model)
    return int(max(1, min(most, free // row_bytes(model, max_new_tokens, context))))


def row_bytes(model: Any, max_new_tokens: int, context: int) -> int:
    """What a row takes at most. Prompts that rows share take less: they are counted as if each row kept its own."""
    tokens = min(context, PROMPT_TOKENS + max_new_tokens)
    return -(-tokens // BLOCK) * BLOCK * token_bytes(model)


def token_bytes(model: Any) -> int:
    """What the keys and values of one token of one row take, in bytes."""
    config = model.config.get_text_config()
    query_heads = config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or query_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // query_heads
    return int(2 * config.num_hidden_layers * heads * head_size * model.dtype.itemsize)


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
