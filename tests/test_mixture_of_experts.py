"""Fused experts stay in 16 bits, so a mixture-of-experts model is not taken for a 4-bit one."""

from pathlib import Path
from typing import Any

import pytest

import model_loader
from swarmeval.errors import DeviceError
from tests.support import tiny_model

EXPERTS: list[tuple[str, dict[str, Any]]] = [
    ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    ("Qwen3Moe", {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128, "head_dim": 16}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), EXPERTS)
def test_experts_that_stay_in_16_bits_are_refused(name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    tiny_model.family(name, **changes).save_pretrained(tmp_path)
    tiny_model.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(DeviceError) as caught:
        model_loader.load(str(tmp_path), device="cpu", weights="nf4")
    assert str(caught.value) == (
        "load_in_4bit is true but only 11% of the weights (embeddings aside) are quantized: bitsandbytes leaves "
        "model.layers.0.mlp.experts.gate_up_proj in 16 bits; set load_in_4bit: false for this model, or use fleet: vllm"
    )
    assert model_loader.load(str(tmp_path), device="cpu", weights="auto").weights in ("bf16", "fp32")


@pytest.mark.slow
def test_weights_whose_scales_are_quantized_too_are_named(tmp_path: Path) -> None:
    """A model saved with double quantization differs from the one that load_in_4bit makes."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    folder = tiny_model.save(tmp_path / "plain")
    double = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=double, device_map={"": "cpu"})
    model.save_pretrained(tmp_path / "double")
    tiny_model.tokenizer().save_pretrained(tmp_path / "double")
    loaded = model_loader.load(str(tmp_path / "double"), device="cpu", weights="nf4")
    assert loaded.weights == "nf4, double-quantized"
    assert model_loader.load(str(folder), device="cpu", weights="nf4").weights == "nf4"
