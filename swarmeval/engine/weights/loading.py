"""Reading of a model's weights from a folder into memory, in the format that the settings name.

Knows neither the settings nor the hub. A model's own Python runs only with `code`.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarmeval.errors import DeviceError
from swarmeval.weight_formats import BLOCK, DTYPES, WeightFormat, checkpoint_format

if TYPE_CHECKING:
    import torch

REPORT_CHARS = 8000  # kept of transformers' report about weights that it could not load: about three of them


@dataclass(frozen=True, slots=True)
class Quantization:
    """The format of the weights and, for nf4, its details."""

    weights: WeightFormat
    double: bool = False
    block: int = BLOCK


def read_model(folder: str, device_map: Any, dtype: "torch.dtype", wanted: Quantization, code: bool) -> Any:
    """Load a model with transformers. A checkpoint that its makers quantized keeps its own quantization and dtype."""
    from transformers import AutoModelForCausalLM

    with _loading_report_as_note():
        return AutoModelForCausalLM.from_pretrained(
            folder,
            dtype="auto" if wanted.weights == "checkpoint" else dtype,
            device_map=device_map,
            use_safetensors=True,
            trust_remote_code=code,
            **_quantization(folder, dtype, wanted),
        )


def settle(model: Any) -> None:
    """Let a quantized checkpoint finish loading: some libraries unpack the weights in the first forward."""
    import torch

    with torch.inference_mode():
        model(torch.zeros(1, 1, dtype=torch.long, device=model.device), use_cache=False)


def compute_dtype(device: str, weights: WeightFormat = "auto") -> "torch.dtype":
    """The dtype that `weights` names; otherwise bf16 if the device supports it, fp16 on other GPUs, fp32 on other CPUs.

    Raises DeviceError if the device cannot compute what `weights` names.
    """
    import torch

    on_gpu = device != "cpu"
    has_bf16 = (
        torch.cuda.is_bf16_supported(including_emulation=False)
        if on_gpu
        else torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    if weights in DTYPES:
        if weights == "bf16" and on_gpu and not has_bf16:
            raise DeviceError("weights is 'bf16', which this GPU cannot compute; set weights: fp16 or fp32")
        named: torch.dtype = getattr(torch, DTYPES[weights])
        return named
    return torch.bfloat16 if has_bf16 else torch.float16 if on_gpu else torch.float32


def _quantization(folder: str, dtype: "torch.dtype", wanted: Quantization) -> dict[str, Any]:
    """The argument that makes transformers quantize while loading; empty if the checkpoint is to keep its format.

    An argument of None would remove the checkpoint's own quantization from its configuration.
    """
    if wanted.weights == "int8":
        from torchao.quantization import Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        return {"quantization_config": TorchAoConfig(Int8WeightOnlyConfig())}
    if wanted.weights == "checkpoint":
        _require_support(folder)
    if wanted.weights != "nf4":
        return {}
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=wanted.double,
    )
    if wanted.block == BLOCK or checkpoint_format(Path(folder)) is not None:
        return {"quantization_config": config}
    from swarmeval.engine.weights.nf4_blocks import with_block

    return {"quantization_config": with_block(config, wanted.block)}


def _require_support(folder: str) -> None:
    """Raise ValueError if transformers would load a checkpoint as if it were not quantized."""
    from transformers import AutoConfig
    from transformers.quantizers.auto import AutoHfQuantizer

    found = getattr(AutoConfig.from_pretrained(folder), "quantization_config", None)
    values = found if isinstance(found, dict) or found is None else found.to_dict()
    if values is not None and not AutoHfQuantizer.supports_quant_method(values):
        raise ValueError(f"transformers does not know its quantization ({values.get('quant_method')})")


@contextmanager
def _loading_report_as_note() -> Iterator[None]:
    """Add transformers' report to an error that refers to it.

    If weights cannot be converted, for instance because memory runs out, the loader logs why in a report and raises a
    RuntimeError that names no reason.
    """
    report, logger = _Report(), logging.getLogger("transformers.modeling_utils")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(report)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield
    except RuntimeError as error:
        for text in report.texts:
            error.add_note(re.sub(r" {9,}|-{9,}", " ", text)[:REPORT_CHARS])  # a table, padded to its longest cell
        raise
    finally:
        logger.removeHandler(report)
        logger.setLevel(level)
        logger.propagate = propagate


class _Report(logging.Handler):
    """Keeps the messages of a logger."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
