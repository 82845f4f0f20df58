"""A check that vLLM is installed and supports the settings. Imports no part of vLLM."""

import importlib.metadata
import importlib.util

from swarmeval.errors import ConfigError
from swarmeval.weight_formats import WeightFormat

# Not an extra: vLLM conflicts with requirements.txt (transformers, fastapi), and pip resolves extras together with it.
INSTALL = "pip install 'vllm>=0.32,<0.33' 'vllm-bnb-plugin>=0.0.3,<0.1'"
PLUGIN = "vllm-bnb-plugin"


def check(device: str, weights: WeightFormat) -> None:
    """Raise ConfigError if vLLM is not installed or does not support these settings."""
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(f"fleet is 'vllm' but vLLM is not installed; {INSTALL}")
    if weights != "nf4":
        return
    if device == "cpu":
        raise ConfigError("fleet is 'vllm': vLLM does not support NF4 weights on a CPU; set load_in_4bit: false")
    try:
        importlib.metadata.version(PLUGIN)
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(
            f"fleet is 'vllm': NF4 weights need {PLUGIN}; pip install {PLUGIN}, or set load_in_4bit: false"
        ) from None
