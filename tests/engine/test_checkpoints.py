"""Checkpoints that their makers quantized: named, loaded as transformers loads them, or refused."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import kl_div
from transformers import AutoModelForCausalLM

import model_loader
from swarmeval.errors import ModelUnavailable
from swarmeval.weight_formats import WeightFormat, check, described
from swarmeval.workers.replica_spec import ReplicaSpec
from tests.support import quantized_models, tiny_model
from tests.support.loaded_replica import generated, reply_of

NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
Made = Callable[[Path], Path]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq int4"),
        ({"quant_method": "awq", "bits": 4}, "awq int4"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "fbgemm_fp8"}, "fbgemm fp8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes int8"),
        ({**NF4}, "nf4"),
        ({**NF4, "quant_method": "bitsandbytes", "bnb_4bit_use_double_quant": True}, "nf4, double-quantized"),
        ({"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig"}}},
         "torchao Int8WeightOnly"),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 4, "type": "int"}}}},
         "compressed-tensors int4"),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": {
            "weights": {"num_bits": 8, "type": "float"}, "input_activations": {"num_bits": 8, "type": "float"}}}},
         "compressed-tensors fp8, activations fp8"),
        ({"quant_method": "made-up"}, "made-up"),
    ],
)  # fmt: skip
def test_a_quantized_checkpoint_is_named_as_what_it_is(values: dict[str, Any], name: str) -> None:
    assert described(values).name == name


@pytest.mark.parametrize("weights", ["auto", "nf4", "int8", "bf16"])
def test_a_quantized_checkpoint_is_refused_under_any_other_name(tmp_path: Path, weights: WeightFormat) -> None:
    quantized_models.claimed(tmp_path, quant_method="gptq", bits=4)
    with pytest.raises(ModelUnavailable) as caught:
        check("owner/model", tmp_path, weights)
    assert str(caught.value) == (
        "owner/model: its makers quantized its weights (gptq int4); set weights: checkpoint, "
        "or name a model that is not quantized"
    )


def test_a_plain_checkpoint_is_not_called_quantized(tmp_path: Path) -> None:
    tiny_model.save(tmp_path)
    check("m", tmp_path, "nf4")
    for model in ("embedded", str(tmp_path)):
        with pytest.raises(ModelUnavailable) as caught:
            model_loader.locate(model, weights="checkpoint")
        assert str(caught.value) == (
            f"{model}: weights: checkpoint is for checkpoints that their makers quantized, and this one is not; "
            "set weights: bf16"
        )


@pytest.mark.skipif(importlib.util.find_spec("gptqmodel") is not None, reason="gptqmodel is installed")
def test_a_checkpoint_names_the_packages_that_it_lacks(tmp_path: Path) -> None:
    quantized_models.claimed(tmp_path, quant_method="awq", bits=4)
    with pytest.raises(ModelUnavailable) as caught:
        model_loader.locate(str(tmp_path), weights="checkpoint")
    assert str(caught.value) == (
        f"{tmp_path}: its weights are awq int4, which needs gptqmodel; pip install 'gptqmodel<7.7'"
    )
    assert model_loader.locate(str(tmp_path), weights="checkpoint", by_vllm=True) == str(tmp_path)


@pytest.mark.slow
def test_a_method_that_transformers_does_not_know_is_refused(tmp_path: Path) -> None:
    quantized_models.claimed(tmp_path, quant_method="made-up")
    with pytest.raises(ModelUnavailable) as caught:
        model_loader.load(str(tmp_path), device="cpu", weights="checkpoint")
    assert str(caught.value) == (f"{tmp_path}: cannot be loaded: transformers does not know its quantization (made-up)")


FORMATS: dict[str, tuple[str, Made, str | None]] = {
    "nf4": ("nf4", lambda folder: quantized_models.bitsandbytes(folder, **NF4, bnb_4bit_compute_dtype="float32"), None),
    "int8": ("bitsandbytes int8", lambda folder: quantized_models.bitsandbytes(folder, load_in_8bit=True), None),
    "torchao": ("torchao Int8WeightOnly", quantized_models.torchao_int8, "torchao"),
    "fp8": ("fp8", quantized_models.fp8_blocks, None),
    "packed int4": (
        "compressed-tensors int4", lambda folder: quantized_models.compressed_tensors(folder, 4), "compressed_tensors"
    ),
    "w8a8": (
        "compressed-tensors int8, activations int8",
        lambda folder: quantized_models.compressed_tensors(folder, 8, inputs=True),
        "compressed_tensors",
    ),
    "gptq": ("gptq int4", quantized_models.gptq, "gptqmodel"),
    "awq": ("awq int4", quantized_models.awq, "gptqmodel"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings(  # gptqmodel asks for an old name and leaves folders to the garbage collector
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning", "ignore:Implicitly cleaning up:ResourceWarning"
)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_quantized_checkpoint_gives_the_replies_of_transformers(kind: str, tmp_path: Path) -> None:
    name, made, package = FORMATS[kind]
    if package is not None:
        pytest.importorskip(package, reason=f"{package} reads these checkpoints and is not installed")
    folder = made(tmp_path)
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", device_map={"": "cpu"}).eval()
    ids = torch.arange(3, 60)[None]
    loaded = model_loader.load(str(folder), device="cpu", weights="checkpoint")
    with torch.inference_mode():
        assert torch.equal(loaded.model(ids).logits, reference(ids).logits)
    assert loaded.weights == name
    assert loaded.is_unpacked is (kind in ("fp8", "packed int4", "w8a8"))  # nothing multiplies these on a CPU
    text, info = reply_of(ReplicaSpec("hf", str(folder), "cpu", "checkpoint", "off", "auto", "off", True, 4, 16))
    assert text == generated(reference)
    assert info.weights.startswith(name)
    assert info.steady is False


@pytest.mark.slow
def test_an_awq_checkpoint_is_read_in_the_layout_of_autoawq(tmp_path: Path) -> None:
    pytest.importorskip("gptqmodel", reason="gptqmodel reads these checkpoints and is not installed")
    folder = quantized_models.awq(tmp_path)
    exact = AutoModelForCausalLM.from_pretrained(folder.with_name("plain"), dtype=torch.float32).eval()
    ids = torch.arange(3, 60)[None]
    with torch.inference_mode():
        found = model_loader.load(str(folder), device="cpu", weights="checkpoint").model(ids).logits
        divergence = kl_div(found.log_softmax(-1), exact(ids).logits.log_softmax(-1), log_target=True, reduction="sum")
    assert divergence / ids.shape[1] < 0.01  # its kernel computes in bf16
