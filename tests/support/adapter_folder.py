"""Folders of LoRA adapters in PEFT's format, written by hand, for the tiny model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

PREFIX = "base_model.model.model.layers"
QUERY = "0.self_attn.q_proj"
CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none"}

Matrices = dict[str, NDArray[np.float32]]


def filled(*shape: int) -> NDArray[np.float32]:
    return np.full(shape, 1 / 8, np.float32)


def pair(layer: str = QUERY, rank: int = 4, inputs: int = 64, outputs: int = 64) -> Matrices:
    """The matrices of one layer."""
    name = f"{PREFIX}.{layer}"
    return {f"{name}.lora_A.weight": filled(rank, inputs), f"{name}.lora_B.weight": filled(outputs, rank)}


def written(folder: Path, matrices: Matrices | None = None, **config: Any) -> str:
    """Write an adapter; the settings are added to those of a plain LoRA."""
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | config))
    save_file(pair() if matrices is None else matrices, folder / "adapter_model.safetensors")
    return str(folder)
