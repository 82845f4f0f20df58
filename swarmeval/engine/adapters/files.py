"""The files of a LoRA adapter in PEFT's format, checked before a model is loaded. Imports no model library.

PEFT has many variants of LoRA. An option that is unknown here might change what the adapter computes, so it is refused.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmeval import hub
from swarmeval.errors import ModelUnavailable

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_OBEYED = {"peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "bias", "init_lora_weights"}
# Of training, or repeated by the names of the weights.
_WITHOUT_EFFECT = {
    "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "lora_dropout", "fan_in_fan_out",
    "loftq_config", "eva_config", "corda_config", "lora_ga_config", "megatron_core", "qalora_group_size",
    "runtime_config", "ensure_weight_tying",
}  # fmt: skip
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")  # others change the base model's weights, too
_PREFIX = "base_model.model."
_HEADER_BYTES = 100 << 20  # longest header of a safetensors file


@dataclass(frozen=True, slots=True)
class LoraFiles:
    """An adapter on disk that passed the checks."""

    name: str
    folder: Path
    config: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, int]]  # per linear layer: its rank, and its outputs

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS

    def scale(self, layer: str) -> float:
        """The factor on what the adapter adds to a layer's output."""
        alpha = self._own("alpha_pattern", layer, self.config.get("lora_alpha", 8))
        rank = self.rank(layer)
        return float(alpha / (math.sqrt(rank) if self.config.get("use_rslora") else rank))

    def rank(self, layer: str) -> int:
        """The rank that the configuration states for a layer."""
        return int(self._own("rank_pattern", layer, self.config.get("r", 8)))

    def facts(self) -> dict[str, object]:
        """Its entry in the manifest."""
        return {
            "folder": str(self.folder),
            "rank": max(rank for rank, _ in self.shapes.values()),
            "targets": sorted({layer.rpartition(".")[2] for layer in self.shapes}),
            "layers": len(self.shapes),
            "base_model": self.config.get("base_model_name_or_path"),
            "sha256": self.digests(),
        }

    def digests(self) -> dict[str, str]:
        """The SHA-256 of each file."""
        return {name: hashlib.sha256((self.folder / name).read_bytes()).hexdigest() for name in (CONFIG, WEIGHTS)}

    def _own(self, pattern: str, layer: str, usual: float) -> float:
        """A layer's own value: of the first expression that matches the end of its name, as in PEFT."""
        values: Mapping[str, float] = self.config.get(pattern) or {}
        return next((value for key, value in values.items() if re.match(rf"(.*\.)?({key})$", layer)), usual)


def located(name: str, source: str, progress: bool = True) -> str:
    """The folder of an adapter, downloaded from the hub if necessary. Raises ModelUnavailable."""
    folder = Path(source)
    if not folder.is_dir():
        try:
            return hub.fetch(source, progress)
        except ModelUnavailable as error:
            raise ModelUnavailable(f"adapters.{name}: {error}") from error
    if not (folder / CONFIG).is_file():
        raise ModelUnavailable(f"adapters.{name}: {source} has no {CONFIG}; name the folder of a PEFT LoRA")
    hub.check_weights(source, folder)
    return source


def read(name: str, folder: str) -> LoraFiles:
    """Read and check the files of an adapter. Raises ModelUnavailable."""
    try:
        return _checked(name, Path(folder))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, re.error) as error:
        raise ModelUnavailable(f"adapters.{name}: {folder}: {error}") from error


def total_bytes(every: Iterable[LoraFiles]) -> int:
    """The size of the adapters' weights on disk."""
    return sum(files.weights.stat().st_size for files in every)


def _checked(name: str, folder: Path) -> LoraFiles:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if config.get("peft_type") != "LORA":
        raise ValueError(f"its peft_type is {config.get('peft_type')!r}; only LORA is supported")
    if config.get("bias", "none") != "none":
        raise ValueError(f"it has trained biases (bias: {config['bias']}); only bias: none is supported")
    if config.get("init_lora_weights") not in _PLAIN_STARTS:
        raise ValueError(
            f"it was begun with init_lora_weights: {config['init_lora_weights']}, which changes the base model; "
            "convert it to a plain LoRA with PEFT's path_initial_model_for_weight_conversion"
        )
    unknown = sorted(key for key, value in config.items() if key not in _OBEYED | _WITHOUT_EFFECT and value)
    if unknown:
        raise ValueError(f"it uses {', '.join(unknown)}, which is not supported; only plain LoRA is")
    found = LoraFiles(name, folder, config, _layers(_header(folder / WEIGHTS)))
    for layer, (rank, _) in found.shapes.items():
        if rank != found.rank(layer):
            raise ValueError(f"{layer} has rank {rank}, but {CONFIG} states {found.rank(layer)}")
    return found


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in a safetensors file."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > _HEADER_BYTES:
            raise ValueError(f"{path.name} is not a safetensors file")
        header = json.loads(file.read(size))
    return {key: tuple(entry["shape"]) for key, entry in header.items() if key != "__metadata__"}


def _layers(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, int]]:
    """Rank and outputs of each adapted layer; every tensor must be one of the two matrices of a layer."""
    layers: dict[str, tuple[int, int]] = {}
    for key, shape in shapes.items():
        layer, _, kind = key.removeprefix(_PREFIX).partition(".lora_")
        if kind not in ("A.weight", "B.weight") or len(shape) != 2:
            raise ValueError(f"it holds {key}, which is not a LoRA matrix of a linear layer")
        first, second = (shapes.get(f"{_PREFIX}{layer}.lora_{side}.weight") for side in "AB")
        if first is None or second is None or first[0] != second[1]:
            raise ValueError(f"the two matrices of {layer} do not belong together")
        layers[layer] = first[0], second[0]
    if not layers:
        raise ValueError("it holds no matrices")
    return layers
