"""Weights in each format of the settings: the values of the library named, the tokens of transformers, the bytes."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

import model_loader
from swarmeval.engine.weights import footprint, weight_cache
from swarmeval.weight_formats import WeightFormat
from swarmeval.workers.replica_spec import ReplicaSpec
from tests.support import tiny_model
from tests.support.loaded_replica import generated, reply_of

IDS = torch.arange(3, 60)[None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model.save(tmp_path_factory.mktemp("model")))


def spec(folder: str, weights: WeightFormat, cache: Any = "off", **changes: Any) -> ReplicaSpec:
    return ReplicaSpec("hf", folder, "cpu", weights, cache, "off", "off", True, 4, 16, **changes)


def theirs(folder: str, dtype: Any = None, **how: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype or model_loader.compute_dtype("cpu"), device_map={"": "cpu"}, **how
    ).eval()


@torch.inference_mode()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(IDS).logits
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weights", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)]
)
def test_a_forced_dtype_gives_the_tokens_of_transformers(folder: str, weights: Any, dtype: torch.dtype) -> None:
    text, info = reply_of(spec(folder, weights, "auto"))
    assert text == generated(theirs(folder, dtype))
    assert info.weights.split(" ")[0] == info.compute_dtype == weights
    assert info.loaded_bytes_per_weight == pytest.approx(dtype.itemsize, rel=0.01)


@pytest.mark.slow
def test_int8_weights_are_those_of_torchao_packed_or_not(folder: str) -> None:
    pytest.importorskip("torchao")
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    reference = theirs(folder, quantization_config=TorchAoConfig(Int8WeightOnlyConfig()))
    loaded = model_loader.load(folder, device="cpu", weights="int8")
    assert torch.equal(logits(loaded.model), logits(reference))
    text, info = reply_of(spec(folder, "int8"))
    assert text == generated(reference)
    assert info.weights == "int8"
    unpacked = reply_of(spec(folder, "int8", "auto"))[1]
    assert unpacked.weights.startswith(f"int8 (dequantized to {unpacked.compute_dtype}")
    weight = reference.model.layers[0].mlp.up_proj.weight.dequantize()
    weight_cache.dequantize(loaded.model)
    assert torch.equal(loaded.model.model.layers[0].mlp.up_proj.weight, weight)


@pytest.mark.slow
@pytest.mark.parametrize(("double", "block"), [(True, 64), (False, 128), (True, 256)])
def test_nf4_has_the_chosen_block_and_scales(folder: str, double: bool, block: int) -> None:
    from bitsandbytes.functional import quantize_4bit

    loaded = model_loader.load(
        folder, device="cpu", weights="nf4", double_quantization=double, quantization_block=block
    )
    shown = ", double-quantized" * double + f", blocks of {block}" * (block != 64)
    assert loaded.weights == f"nf4{shown}"
    values = tiny_model.model().model.layers[1].mlp.down_proj.weight.detach().to(loaded.model.dtype)
    packed, state = quantize_4bit(values, blocksize=block, compress_statistics=double, quant_type="nf4")
    layer = loaded.model.model.layers[1].mlp.down_proj
    assert torch.equal(layer.weight.data, packed)
    assert layer.weight.quant_state.nested is double
    assert torch.equal(layer.weight.quant_state.absmax, state.absmax)


@pytest.mark.slow
def test_nf4_bytes_count_scales_and_what_stays_in_16_bits(folder: str) -> None:
    loaded = model_loader.load(folder, device="cpu", weights="nf4")
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = theirs(folder, quantization_config=config)
    expected = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            expected += module.weight.quant_state.absmax.nbytes + module.weight.quant_state.code.nbytes
    assert loaded.stored_bytes == pytest.approx(expected, rel=0.02)
    assert loaded.weight_count == sum(weight.numel() for weight in tiny_model.model().parameters())
    assert loaded.bytes_per_weight == pytest.approx(loaded.stored_bytes / loaded.weight_count)  # type: ignore[operator]


def test_shared_storage_counts_once_and_a_view_counts_whole() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(8, 8, bias=False), torch.nn.Linear(8, 8, bias=False))
    assert footprint.stored_bytes(model) == 2 * 8 * 8 * 4
    model[1].weight = model[0].weight
    assert footprint.stored_bytes(model) == 8 * 8 * 4
    whole = torch.zeros(16, 8)
    model[0].weight = torch.nn.Parameter(whole[:8])
    model[1].weight = torch.nn.Parameter(whole[8:])
    assert footprint.stored_bytes(model) == 16 * 8 * 4
