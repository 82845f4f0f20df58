"""Tiny checkpoints that their makers quantized, one per format that can be made on a CPU."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from tests.support import tiny_model

FP8_BLOCK = 64
GROUP = 32  # weights per scale of GPTQ and AWQ
FP8_MAX = 448.0


def bitsandbytes(folder: Path, **config: Any) -> Path:
    """A checkpoint saved by transformers after quantization by bitsandbytes."""
    plain = tiny_model.save(folder / "plain")
    made = AutoModelForCausalLM.from_pretrained(
        plain, quantization_config=BitsAndBytesConfig(**config), dtype=torch.float32, device_map={"": "cpu"}
    )
    return _saved(made, folder / "quantized")


def torchao_int8(folder: Path) -> Path:
    """A checkpoint saved by transformers after quantization by torchao."""
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    plain = tiny_model.save(folder / "plain")
    config = TorchAoConfig(Int8WeightOnlyConfig())
    made = AutoModelForCausalLM.from_pretrained(
        plain, quantization_config=config, dtype=torch.bfloat16, device_map={"": "cpu"}
    )
    return _saved(made, folder / "quantized")


def fp8_blocks(folder: Path) -> Path:
    """A checkpoint with one scale per block of FP8 weights, as DeepSeek and Qwen publish theirs."""
    model = tiny_model.model(hidden_size=128, intermediate_size=256).to(torch.bfloat16)
    _saved(model, folder)
    tensors = {}
    for name, values in model.state_dict().items():
        if values.ndim < 2 or "embed" in name or "lm_head" in name:
            tensors[name] = values.contiguous()
            continue
        rows, columns = (size // FP8_BLOCK for size in values.shape)
        blocks = values.float().reshape(rows, FP8_BLOCK, columns, FP8_BLOCK)
        scales = blocks.abs().amax((1, 3)) / FP8_MAX
        tensors[name] = (blocks / scales[:, None, :, None]).reshape(values.shape).to(torch.float8_e4m3fn)
        tensors[f"{name}_scale_inv"] = scales
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    scheme = {"activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [FP8_BLOCK, FP8_BLOCK]}
    _add_to_config(folder, {"quant_method": "fp8", **scheme})
    return folder


def compressed_tensors(folder: Path, bits: int, inputs: bool = False) -> Path:
    """A checkpoint of compressed-tensors: int4 in groups of 32, or int8 per output, `inputs` in int8 as well."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationArgs,
        QuantizationConfig,
        QuantizationScheme,
        QuantizationStatus,
        apply_quantization_config,
    )

    group = {"strategy": "group", "group_size": 32} if bits == 4 else {"strategy": "channel"}
    weights = QuantizationArgs(num_bits=bits, type="int", symmetric=True, **group)
    per_token = QuantizationArgs(num_bits=8, type="int", symmetric=True, strategy="token", dynamic=True)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights, input_activations=per_token if inputs else None)
    model = tiny_model.model().to(torch.bfloat16)
    frozen, layout = QuantizationStatus.FROZEN, "pack-quantized" if bits == 4 else "int-quantized"
    apply_quantization_config(
        model,
        QuantizationConfig(
            config_groups={"all": scheme}, ignore=["lm_head"], quantization_status=frozen, format=layout
        ),
    )
    for module in model.modules():
        if hasattr(module, "weight_scale"):
            rows = module.weight.shape[0]
            blocks = module.weight.reshape(rows, -1, 32 if bits == 4 else module.weight.shape[1])
            scales = blocks.abs().amax(-1) / (2 ** (bits - 1) - 0.5)
            module.weight_scale.data = scales.to(module.weight_scale.dtype).reshape(module.weight_scale.shape)
            module.quantization_status = frozen
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    _saved(model, folder)
    compressor.update_config(str(folder))
    return folder


def gptq(folder: Path) -> Path:
    """A checkpoint quantized by gptqmodel on random tokens: int4 in groups of 32, computed in fp32."""
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # some versions refuse their own default on two cores
    from gptqmodel import GPTQModel, QuantizeConfig

    plain = tiny_model.save(folder / "plain")
    config = QuantizeConfig(bits=4, group_size=GROUP, desc_act=False, offload_to_disk=False)
    made = GPTQModel.load(str(plain), config, device="cpu", dtype=torch.float32)
    torch.manual_seed(0)
    rows = [torch.randint(3, 280, (1, 128)) for _ in range(16)]
    made.quantize([{"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in rows], batch_size=1)
    made.save(str(folder / "quantized"))
    tiny_model.tokenizer().save_pretrained(folder / "quantized")
    return folder / "quantized"


def awq(folder: Path) -> Path:
    """A checkpoint in the layout of AutoAWQ ("gemm"), rounded to the nearest; `plain` beside it has the same weights.

    gptqmodel makes such checkpoints on GPUs only.
    """
    model = tiny_model.model()
    tensors = {}
    for name, values in model.state_dict().items():
        if values.ndim < 2 or "embed" in name or "lm_head" in name:
            tensors[name] = values.clone()
            continue
        groups = values.T.reshape(values.shape[1] // GROUP, GROUP, -1)  # [groups, inputs of one, outputs]
        least, most = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
        scales = ((most - least) / 15).half().float()
        zeros = (-least / scales).round().clamp(0, 15)
        codes = (groups / scales + zeros).round().clamp(0, 15)
        values.copy_(((codes - zeros) * scales).flatten(0, 1).T)
        layer = name.removesuffix(".weight")
        tensors[f"{layer}.qweight"], tensors[f"{layer}.qzeros"] = _packed(codes.flatten(0, 1)), _packed(zeros[:, 0])
        tensors[f"{layer}.scales"] = scales[:, 0].half()
    _saved(model, folder / "plain")
    _saved(model, folder / "quantized")
    save_file(tensors, folder / "quantized" / "model.safetensors", metadata={"format": "pt"})
    scheme = {"bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}
    _add_to_config(folder / "quantized", {"quant_method": "awq", **scheme})
    return folder / "quantized"


def _packed(codes: torch.Tensor) -> torch.Tensor:
    """Eight codes of 4 bits per word, in AutoAWQ's order: [rows, outputs] -> [rows, outputs / 8]."""
    eights = codes.long().reshape(len(codes), -1, 8)[:, :, [0, 2, 4, 6, 1, 3, 5, 7]]
    return (eights << torch.arange(0, 32, 4)).sum(-1).int()


def claimed(folder: Path, **quantization: Any) -> Path:
    """A plain checkpoint whose config.json states a quantization."""
    tiny_model.save(folder)
    _add_to_config(folder, quantization)
    return folder


def _saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tiny_model.tokenizer().save_pretrained(folder)
    return folder


def _add_to_config(folder: Path, quantization: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": quantization}))
