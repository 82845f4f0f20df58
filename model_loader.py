"""Loading of one replica onto one device: its files, quantization, placement check.

`locate` runs in the coordinator and imports no model library. Everything else runs inside a worker.
"""

import hashlib
import importlib.metadata
import logging
import os
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarmeval import home, hub
from swarmeval.engine import bundled_model, quantization
from swarmeval.engine.out_of_memory import is_out_of_memory
from swarmeval.errors import DeviceError, ModelUnavailable
from swarmeval.settings.run_config import EMBEDDED

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "transformers", "bitsandbytes", "tokenizers", "accelerate")
REPORT_CHARS = 8000  # kept of transformers' report about weights that it could not load: about three of them


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A loaded model whose placement has been checked, and its tokenizer."""

    model: Any  # transformers.PreTrainedModel
    tokenizer: Any  # transformers.PreTrainedTokenizerBase
    weights: str  # "nf4", "nf4, double-quantized", "bf16", "fp16", "fp32"
    compute_dtype: str  # "bf16", "fp16", "fp32"
    memory_mb: float
    load_s: float


def locate(model_id: str, progress: bool = True, weights: bool = True, code: bool = False) -> str:
    """Return the argument for `load`: "embedded" or the model's folder, downloaded from the hub if necessary.

    `weights` and `code` say whether a download includes the weights and the model's own Python. Raises
    ModelUnavailable.
    """
    if model_id == EMBEDDED:
        bundled_model.find()
        return EMBEDDED
    folder = Path(model_id)
    if not folder.is_dir():
        return hub.fetch(model_id, progress, weights, code)
    if not (folder / "config.json").is_file():
        raise ModelUnavailable(f"{model_id}: the folder has no config.json; name the folder of a transformers model")
    hub.check_weights(model_id, folder)
    return model_id


def folder_of(model: str) -> str:
    """The folder of a model that `locate` returned; converts the embedded model if necessary."""
    quiet()
    return str(bundled_model.converted(bundled_model.find(), home.cache_folder())) if model == EMBEDDED else model


def config_of(folder: str, code: bool = False) -> Any:
    """The model's transformers configuration. With `code`, the model's own Python may run. Raises ModelUnavailable."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=code)
    except (ValueError, OSError, KeyError, ImportError) as error:
        raise ModelUnavailable(unreadable(folder, error)) from error


def load(
    model: str, *, device: str, load_in_4bit: bool, data_parallel: bool = True, trust_remote_code: bool = False
) -> LoadedModel:
    """Load one replica onto the device ("cuda:0", "cpu"); without `data_parallel`, shard it over all visible GPUs.

    Weights are read from *.safetensors files only. The model's own Python runs only with `trust_remote_code`.

    Raises ModelUnavailable if the model cannot be read, DeviceError if it does not fit or lands on another device.
    """
    quiet()
    import torch
    from safetensors import SafetensorError

    if device != "cpu" and not torch.cuda.is_available():
        raise DeviceError(f"{device}: torch found no CUDA device; set device: cpu or use --config config/smoke.yaml")
    began = time.perf_counter()
    if device != "cpu":
        choose_attention()
    folder = folder_of(model)
    dtype = compute_dtype(device)
    sharded = device != "cpu" and not data_parallel
    try:
        tokenizer, loaded = _read(folder, device, dtype, load_in_4bit, sharded, trust_remote_code)
    except (MemoryError, RuntimeError, ValueError, OSError, KeyError, ImportError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise DeviceError(_too_big(model, device, load_in_4bit, sharded)) from error
        if isinstance(error, RuntimeError):  # a bug in our code or a library, not a user error
            raise
        raise ModelUnavailable(unreadable(model, error)) from error
    check_placement(loaded, device, load_in_4bit, sharded)
    name = _dtype_name(dtype)
    return LoadedModel(
        model=loaded.eval(),
        tokenizer=tokenizer,
        weights=quantization.kind(loaded) if load_in_4bit else name,
        compute_dtype=name,
        memory_mb=memory_mb(loaded),
        load_s=time.perf_counter() - began,
    )


def quiet() -> None:
    """Silence the libraries' messages at import and while loading, to keep them out of the worker's log."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")  # tqdm reads it at its first import
    warnings.filterwarnings("ignore", message="The pynvml package is deprecated", category=FutureWarning)
    # A model that was saved in 4 bits keeps its own quantization, which LoadedModel.weights names.
    warnings.filterwarnings("ignore", message="You passed `quantization_config` or equivalent parameters")
    # On CPUs with AVX512-BF16, bitsandbytes logs that the optional hub package `kernels` is missing.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.CRITICAL)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def choose_attention() -> None:
    """Keep torch from using cuDNN's attention on a GPU: it plans for 23 to 37 ms at each new shape."""
    import torch

    torch.backends.cuda.enable_cudnn_sdp(False)


def check_placement(model: Any, device: str, four_bit: bool, sharded: bool) -> None:
    """Raise DeviceError unless every tensor is on the right device and, with `four_bit`, the weights are 4-bit.

    Every linear layer must be, and most of all weights: bitsandbytes converts linear layers only, and the fused experts
    of a mixture-of-experts model stay in 16 bits. The output head is exempt: bitsandbytes does not quantize it.
    """
    import torch

    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        right = tensor.device.type == "cuda" if sharded else str(tensor.device) == device
        if not right:
            expected = "a GPU" if sharded else device
            raise DeviceError(f"{name} landed on {tensor.device}, not on {expected}; is another program using it?")
    if not four_bit:
        return
    from bitsandbytes.nn import Linear4bit

    head = model.get_output_embeddings()
    linears = [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]
    plain = [name for name, module in linears if not isinstance(module, Linear4bit)]
    if plain or not linears:
        problem = f"{plain[0]} is not" if plain else "it has no linear layers"
        raise DeviceError(f"load_in_4bit is true but {problem} quantized; set load_in_4bit: false for this model")
    share, largest = quantization.share(model)
    if share < quantization.LEAST_SHARE:
        raise DeviceError(
            f"load_in_4bit is true but only {share:.0%} of the weights (embeddings aside) are quantized: bitsandbytes "
            f"leaves {largest} in 16 bits; set load_in_4bit: false for this model, or use fleet: vllm"
        )


def memory_mb(model: Any) -> float:
    """Size of the parameters and buffers, in MB."""
    return float(model.get_memory_footprint()) / 1e6


def versions() -> dict[str, str]:
    """Versions of the installed libraries that affect the model's answers."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def chat_template_sha256(tokenizer: Any) -> str | None:
    """SHA-256 of the tokenizer's chat template; None if it has none."""
    if not tokenizer.chat_template:
        return None
    return hashlib.sha256(tokenizer.get_chat_template().encode()).hexdigest()


def compute_dtype(device: str) -> "torch.dtype":
    """bf16 if the device supports it; otherwise fp16 on a GPU and fp32 on a CPU."""
    import torch

    if device != "cpu":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return torch.bfloat16 if onednn and torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def unreadable(model: str, error: Exception) -> str:
    """One line that says why a model cannot be loaded."""
    if "trust_remote_code" in str(error):
        return (
            f"{model}: needs its own Python code, which is not run by default; "
            "read that code, then set trust_remote_code: true"
        )
    return f"{model}: cannot be loaded: {_first_line(error)}"


def _read(folder: str, device: str, dtype: "torch.dtype", four_bit: bool, sharded: bool, code: bool) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    quantization = None
    if four_bit:
        quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=code)
    with _loading_report_as_note():
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            device_map="auto" if sharded else {"": device},
            quantization_config=quantization,
            use_safetensors=True,
            trust_remote_code=code,
        )
    return tokenizer, model


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


def _dtype_name(dtype: "torch.dtype") -> str:
    return {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}[str(dtype).removeprefix("torch.")]


def _too_big(model: str, device: str, four_bit: bool, sharded: bool) -> str:
    remedies = ["a smaller model"]
    if not four_bit:
        remedies.insert(0, "load_in_4bit: true")
    if device != "cpu" and not sharded:
        remedies.append("use_data_parallelism: false to shard it over all GPUs")
    place = "all GPUs together" if sharded else device
    return f"{model}: out of memory while loading onto {place}; try {', or '.join(remedies)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
