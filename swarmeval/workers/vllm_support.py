"""Whether vLLM can do what is asked of it here. Looks at what is installed, and loads none of it."""

import importlib.metadata
import importlib.util

from swarmeval.errors import ConfigError

# Not an extra: it contradicts requirements.txt (transformers, fastapi), and pip resolves an extra together with those.
INSTALL = "pip install 'vllm>=0.32,<0.33' 'vllm-bnb-plugin>=0.0.3,<0.1'"
PLUGIN = "vllm-bnb-plugin"


def check(device: str, load_in_4bit: bool) -> None:
    """Whether what is asked of vLLM can be had here; imports nothing. Raises ConfigError."""
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(f"fleet is 'vllm' but vLLM is not installed; {INSTALL}")
    if not load_in_4bit:
        return
    if device == "cpu":
        raise ConfigError("fleet is 'vllm': on a CPU vLLM has no NF4 weights; set load_in_4bit: false")
    try:
        importlib.metadata.version(PLUGIN)
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(
            f"fleet is 'vllm': NF4 weights need {PLUGIN}; pip install {PLUGIN}, or set load_in_4bit: false"
        ) from None
