"""Whether vLLM can do what is asked of it here. Looks at what is installed, and loads none of it."""

import importlib.metadata
import importlib.util

from swarmeval.errors import ConfigError

PLUGIN = "vllm-bnb-plugin"


def check(device: str, load_in_4bit: bool) -> None:
    """Whether what is asked of vLLM can be had here; imports nothing. Raises ConfigError."""
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError("fleet is 'vllm' but vLLM is not installed; pip install -r requirements-vllm.txt")
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
