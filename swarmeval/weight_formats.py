"""The formats of a model's weights: what the settings name, and how the makers of a checkpoint quantized it.

Reads config.json only. Loads no weights and imports no model library.
"""

import importlib.util
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from swarmeval.errors import ModelUnavailable

# "auto": 16 or 32 bits, whichever the device computes best
WeightFormat = Literal["auto", "nf4", "int8", "bf16", "fp16", "fp32", "checkpoint", "gguf"]

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}  # names of formats -> those in torch
QUANTIZED_HERE = ("nf4", "int8")  # formats that are made while loading
BLOCK = 64  # weights per scale of nf4, unless the settings say otherwise
DOUBLE = ", double-quantized"  # follows "nf4" where the scales of the weights are quantized as well
INT8_PACKAGE = "torchao"
GGUF = ".gguf"
GPTQMODEL = "gptqmodel<7.7"  # later ones replace torch by a newer one

# The packages that read a kind of checkpoint: importable name -> what pip installs. Other kinds need no more packages,
# or transformers names them.
PACKAGES: Mapping[str, Mapping[str, str]] = {
    "gptq": {"optimum": "optimum", "gptqmodel": GPTQMODEL},
    "awq": {"gptqmodel": GPTQMODEL},
    "compressed-tensors": {"compressed_tensors": "compressed-tensors"},
    "bitsandbytes": {"bitsandbytes": "bitsandbytes"},
    "torchao": {"torchao": "torchao"},
    "fbgemm_fp8": {"fbgemm_gpu": "fbgemm-gpu"},
    "auto-round": {"auto_round": "auto-round"},
    "hqq": {"hqq": "hqq"},
    "aqlm": {"aqlm": "aqlm"},
    "quanto": {"optimum.quanto": "optimum-quanto"},
    "quark": {"quark": "amd-quark"},
}


@dataclass(frozen=True, slots=True)
class CheckpointFormat:
    """The quantization of a checkpoint by its makers."""

    name: str  # "gptq int4", "fp8", "nf4, double-quantized"
    method: str  # transformers' name of the method: "gptq", "compressed-tensors"


def checkpoint_format(folder: Path) -> CheckpointFormat | None:
    """The quantization that a model's config.json states; None if the checkpoint is not quantized.

    An unreadable config.json counts as not quantized: loading it fails with the reason.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        found = config.get("quantization_config") or config.get("text_config", {}).get("quantization_config")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return described(found) if isinstance(found, dict) and found else None


def described(values: Mapping[str, Any]) -> CheckpointFormat:
    """The format that a `quantization_config` describes."""
    method = str(values.get("quant_method") or ("bitsandbytes" if "load_in_4bit" in values else "unknown"))
    if method == "bitsandbytes":
        if not values.get("load_in_4bit"):
            return CheckpointFormat("bitsandbytes int8", method)
        double = DOUBLE if values.get("bnb_4bit_use_double_quant") else ""
        return CheckpointFormat(f"{values.get('bnb_4bit_quant_type', 'fp4')}{double}", method)
    if method == "compressed-tensors":
        return CheckpointFormat(f"{method} {_of_groups(values)}".strip(), method)
    if method == "torchao":
        kinds = [kind.get("_type") for kind in (values.get("quant_type") or {}).values() if isinstance(kind, dict)]
        return CheckpointFormat(" ".join([method, *(str(kind).removesuffix("Config") for kind in kinds)]), method)
    bits = values.get("bits")
    return CheckpointFormat(f"{method.replace('_', ' ')}{f' int{bits}' if isinstance(bits, int) else ''}", method)


def check(model_id: str, folder: Path, weights: WeightFormat, by_vllm: bool = False) -> None:
    """Raise ModelUnavailable unless the weights in a folder can be loaded in a format.

    vLLM brings its own readers of quantized checkpoints.
    """
    found = checkpoint_format(folder)
    if found is None:
        if weights == "checkpoint":
            raise ModelUnavailable(
                f"{model_id}: weights: checkpoint is for checkpoints that their makers quantized, and this one is not; "
                "set weights: bf16"
            )
        return
    if weights != "checkpoint" and not (weights == "nf4" and found.name.startswith("nf4")):
        raise ModelUnavailable(
            f"{model_id}: its makers quantized its weights ({found.name}); set weights: checkpoint, "
            "or name a model that is not quantized"
        )
    missing = [] if by_vllm else [
        pip for module, pip in PACKAGES.get(found.method, {}).items() if not _is_installed(module)
    ]  # fmt: skip
    if missing:
        raise ModelUnavailable(
            f"{model_id}: its weights are {found.name}, which needs {' and '.join(map(_name, missing))}; "
            f"pip install {shlex.join(missing)}"
        )


def require_gguf(model_id: str, file: Path, weights: WeightFormat) -> None:
    """Raise ModelUnavailable unless a model is a GGUF file and `weights` says so."""
    try:
        with file.open("rb") as stream:
            begins = stream.read(4)
    except OSError:
        begins = b""
    if file.suffix != GGUF or begins != b"GGUF":
        raise ModelUnavailable(f"{model_id}: weights: gguf needs the path of a GGUF file as model_id")
    if weights != "gguf":
        raise ModelUnavailable(f"{model_id}: a GGUF file; set weights: gguf")


def dtype_name(dtype: object) -> str:
    """The short name of a torch dtype that weights are computed in: "bf16"."""
    return next(name for name, torchs in DTYPES.items() if str(dtype) == f"torch.{torchs}")


def require_package(weights: WeightFormat) -> None:
    """Raise ModelUnavailable if the package that quantizes weights to a format while loading is not installed."""
    if weights == "int8" and not _is_installed(INT8_PACKAGE):
        raise ModelUnavailable(f"weights: int8 needs {INT8_PACKAGE}; pip install {INT8_PACKAGE}, or set weights: nf4")


def _of_groups(values: Mapping[str, Any]) -> str:
    """The weights of a compressed-tensors checkpoint, and its activations if they are quantized too."""
    groups = [group for group in (values.get("config_groups") or {}).values() if isinstance(group, dict)]
    weights = [_number(group["weights"]) for group in groups if group.get("weights")]
    inputs = [_number(group["input_activations"]) for group in groups if group.get("input_activations")]
    shown = " and ".join(dict.fromkeys(weights))
    return f"{shown}, activations {' and '.join(dict.fromkeys(inputs))}" if inputs else shown


def _number(args: Mapping[str, Any]) -> str:
    """The type of quantized numbers: "int4", "fp8"."""
    return f"{'fp' if args.get('type') == 'float' else 'int'}{args.get('num_bits', '')}"


def _name(requirement: str) -> str:
    return re.split("[<>=~!]", requirement)[0]


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package inside one that is missing
        return False
