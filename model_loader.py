"""Loading of one replica onto one device: its files, quantization, placement check.

`locate` runs in the coordinator and imports no model library. Everything else runs inside a worker.
"""

import hashlib
import importlib.metadata
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmeval import home, hub
from swarmeval.engine import bundled_model, quantization
from swarmeval.engine.out_of_memory import is_out_of_memory
from swarmeval.engine.quiet import quiet
from swarmeval.errors import DeviceError, ModelUnavailable
from swarmeval.settings.run_config import EMBEDDED
from swarmeval.weight_formats import (
    BLOCK,
    GGUF,
    QUANTIZED_HERE,
    WeightFormat,
    check,
    checkpoint_format,
    dtype_name,
    require_gguf,
    require_package,
)

PACKAGES = (
    "torch", "transformers", "bitsandbytes", "tokenizers", "accelerate", "torchao", "compressed-tensors", "optimum",
    "gptqmodel", "gguf",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A loaded model whose placement has been checked, and its tokenizer."""

    model: Any  # transformers.PreTrainedModel
    tokenizer: Any  # transformers.PreTrainedTokenizerBase
    weights: str  # "nf4", "nf4, double-quantized", "int8", "bf16", "fp16", "fp32", "gptq int4", "gguf Q4_K_M"
    compute_dtype: str  # "bf16", "fp16", "fp32"
    is_unpacked: bool  # whether the library unpacked the quantized weights of the checkpoint to the compute dtype
    stored_bytes: int  # of the weights, as they are in memory after loading
    weight_count: int | None  # before quantization; None if unknown
    load_s: float

    @property
    def bytes_per_weight(self) -> float | None:
        """Bytes in memory per weight as loaded, with everything that quantization adds."""
        return self.stored_bytes / self.weight_count if self.weight_count else None


def locate(
    model_id: str,
    progress: bool = True,
    with_weights: bool = True,
    code: bool = False,
    weights: WeightFormat = "auto",
    by_vllm: bool = False,
    revision: str | None = None,
) -> str:
    """Return the argument for `load`: "embedded" or the model's folder, downloaded from the hub if necessary.

    `with_weights` and `code` say whether a download includes the weights and the model's own Python. Raises
    ModelUnavailable, also if the weights cannot be loaded in the format `weights`, by vLLM or by the built-in engine.
    `revision` is a commit, branch or tag on the hub.
    """
    require_package(weights)
    folder = Path(model_id)
    if revision is not None and (model_id == EMBEDDED or folder.exists()):
        raise ModelUnavailable(
            f"{model_id}: model_revision is for models on the hub, and this one is on this machine; remove it"
        )
    if weights == "gguf" or (folder.suffix == GGUF and folder.is_file()):
        require_gguf(model_id, folder, weights)
        return str(folder.absolute())
    if model_id == EMBEDDED:
        check(EMBEDDED, bundled_model.find().parent, weights)
        return EMBEDDED
    if not folder.is_dir():
        folder = Path(hub.fetch(model_id, progress, with_weights, code, revision))
        check(model_id, folder, weights, by_vllm)
        return str(folder)
    if not (folder / "config.json").is_file():
        raise ModelUnavailable(f"{model_id}: the folder has no config.json; name the folder of a transformers model")
    hub.check_weights(model_id, folder)
    check(model_id, folder, weights, by_vllm)
    return model_id


def folder_of(model: str) -> str:
    """The folder of a model that `locate` returned; converts a GGUF file, also the embedded model's, if necessary."""
    quiet()
    if model == EMBEDDED:
        return str(bundled_model.converted(bundled_model.find(), home.cache_folder()))
    if model.endswith(GGUF):
        return str(bundled_model.converted(Path(model), home.cache_folder(), name="gguf"))
    return model


def config_of(folder: str, code: bool = False) -> Any:
    """The model's transformers configuration. With `code`, the model's own Python may run. Raises ModelUnavailable."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=code)
    except (ValueError, OSError, KeyError, ImportError) as error:
        raise ModelUnavailable(unreadable(folder, error)) from error


def load(
    model: str,
    *,
    device: str,
    weights: WeightFormat,
    data_parallel: bool = True,
    trust_remote_code: bool = False,
    double_quantization: bool = False,
    quantization_block: int = BLOCK,
) -> LoadedModel:
    """Load one replica onto the device ("cuda:0", "cpu"); without `data_parallel`, shard it over all visible GPUs.

    Weights are read from *.safetensors files only. The model's own Python runs only with `trust_remote_code`.

    Raises ModelUnavailable if the model cannot be read, DeviceError if it does not fit or lands on another device.
    """
    quiet()
    import torch
    from safetensors import SafetensorError

    from swarmeval.engine.weights import footprint, loading

    if device != "cpu" and not torch.cuda.is_available():
        raise DeviceError(f"{device}: torch found no CUDA device; set device: cpu or use --config config/smoke.yaml")
    began = time.perf_counter()
    if device != "cpu":
        choose_attention()
    folder = folder_of(model)
    dtype = loading.compute_dtype(device, weights)
    sharded = device != "cpu" and not data_parallel
    wanted = loading.Quantization(weights, double_quantization, quantization_block)
    try:
        tokenizer = tokenizer_of(folder, trust_remote_code)
        loaded = loading.read_model(folder, "auto" if sharded else {"": device}, dtype, wanted, trust_remote_code)
        if weights == "checkpoint":
            loading.settle(loaded)
    except (MemoryError, RuntimeError, ValueError, OSError, KeyError, ImportError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise DeviceError(_too_big(model, device, weights, sharded)) from error
        if isinstance(error, RuntimeError):  # a bug in our code or a library, not a user error
            raise
        raise ModelUnavailable(unreadable(model, error)) from error
    check_placement(loaded, device, weights, sharded)
    count = footprint.weight_count(config_of(folder, trust_remote_code), trust_remote_code)
    stored = footprint.stored_bytes(loaded)
    return LoadedModel(
        model=loaded.eval(),
        tokenizer=tokenizer,
        weights=_name(loaded, Path(folder), weights),
        compute_dtype=dtype_name(loaded.dtype),
        is_unpacked=weights in ("checkpoint", "gguf") and footprint.is_unpacked(stored, count, loaded.dtype),
        stored_bytes=stored,
        weight_count=count,
        load_s=time.perf_counter() - began,
    )


def compute_dtype(device: str, weights: WeightFormat = "auto", config: Any = None) -> Any:
    """The torch dtype to compute in: the one that is named, or the device's best; for a checkpoint, its `config`'s.

    Raises DeviceError if the device cannot compute what is named.
    """
    from swarmeval.engine.weights import loading

    own = getattr(config, "dtype", None) if weights == "checkpoint" else None
    return own or loading.compute_dtype(device, weights)


def tokenizer_of(folder: str, code: bool = False) -> Any:
    """The tokenizer in a model's folder. With `code`, the model's own Python may run."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, trust_remote_code=code)


def choose_attention() -> None:
    """Keep torch from using cuDNN's attention on a GPU: it plans for 23 to 37 ms at each new shape."""
    import torch

    torch.backends.cuda.enable_cudnn_sdp(False)


def check_placement(model: Any, device: str, weights: WeightFormat, sharded: bool) -> None:
    """Raise DeviceError unless every tensor is on the right device and the weights are quantized as `weights` says."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        right = tensor.device.type == "cuda" if sharded else str(tensor.device) == device
        if not right:
            expected = "a GPU" if sharded else device
            raise DeviceError(f"{name} landed on {tensor.device}, not on {expected}; is another program using it?")
    if weights in QUANTIZED_HERE:
        quantization.check(model, weights)


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


def unreadable(model: str, error: Exception) -> str:
    """One line that says why a model cannot be loaded."""
    if "trust_remote_code" in str(error):
        return (
            f"{model}: needs its own Python code, which is not run by default; "
            "read that code, then set trust_remote_code: true"
        )
    return f"{model}: cannot be loaded: {_first_line(error)}"


def _name(model: Any, folder: Path, weights: WeightFormat) -> str:
    """The format of a loaded model's weights, for the manifest."""
    if weights == "nf4":
        return quantization.kind(model)
    if weights == "gguf":
        return f"gguf {bundled_model.file_type(folder)}"
    made = checkpoint_format(folder)
    if weights == "checkpoint" and made is not None:
        return made.name
    return weights if weights in QUANTIZED_HERE else dtype_name(model.dtype)


def _too_big(model: str, device: str, weights: WeightFormat, sharded: bool) -> str:
    remedies = ["a smaller model"]
    if weights not in ("nf4", "checkpoint", "gguf"):
        remedies.insert(0, "weights: nf4")
    if device != "cpu" and not sharded:
        remedies.append("use_data_parallelism: false to shard it over all GPUs")
    place = "all GPUs together" if sharded else device
    return f"{model}: out of memory while loading onto {place}; try {', or '.join(remedies)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
