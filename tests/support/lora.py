"""Random LoRA adapters, made and saved by peft, and its answers with them."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

import model_loader
from swarmeval.engine.adapters import files

QUERY_AND_VALUE: Mapping[str, Any] = {"r": 4, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}
EVERYTHING: Mapping[str, Any] = {"r": 8, "lora_alpha": 8, "use_rslora": True, "target_modules": "all-linear"}
PARTS: Mapping[str, Mapping[str, Any]] = {
    "value": {"r": 3, "target_modules": ["v_proj"]},
    "up": {"r": 5, "target_modules": ["up_proj", "q_proj"]},
}
PATTERNS: Mapping[str, Any] = {
    "r": 4, "lora_alpha": 8, "target_modules": ["k_proj", "o_proj", "gate_proj", "down_proj"],
    "rank_pattern": {"k_proj": 2, r"layers\.0\..*down_proj": 6}, "alpha_pattern": {"o_proj": 12},
}  # fmt: skip


def save(model: Any, folder: Path, seed: int = 0, spread: float = 0.5, **config: Any) -> Path:
    """Save a random adapter for a model, with no matrix of zeros. The model is left as it was."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    with warnings.catch_warnings(action="ignore"):  # of transformers, about what peft reads
        adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **config))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, spread)
    adapted.save_pretrained(str(folder))
    adapted.unload()
    return folder


def saved(model: Any, folder: Path) -> dict[str, Path]:
    """Three adapters for a model of Llama's form, by name."""
    configs: Mapping[str, Mapping[str, Any]] = {"qv": QUERY_AND_VALUE, "all": EVERYTHING, "mixed": PATTERNS}
    return {name: save(model, folder / name, seed, **config) for seed, (name, config) in enumerate(configs.items(), 1)}


def read(folders: Mapping[str, Path]) -> list[files.LoraFiles]:
    return [files.read(name, str(folder)) for name, folder in folders.items()]


def with_peft(model: Any, folder: Path) -> Any:
    """The model with an adapter, by peft."""
    from peft import PeftModel

    with warnings.catch_warnings(action="ignore"):
        return PeftModel.from_pretrained(model, str(folder)).eval()


def in_4_bits(folder: Path) -> Any:
    """A saved model with NF4 weights that computes in fp32."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, device_map={"": "cpu"}, quantization_config=config
    )
    return model.eval()


def bundled() -> tuple[Any, Callable[[], Any]]:
    """The tokenizer of the bundled model, and a function that loads the model in fp32."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = model_loader.folder_of(model_loader.locate("embedded"))

    def load() -> Any:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    return AutoTokenizer.from_pretrained(folder), load
