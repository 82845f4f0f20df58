"""Rules for the format of the weights: keys that name it twice, or that need another format."""

from collections.abc import Iterator

from swarmeval.settings.run_keys import RunKeys
from swarmeval.weight_formats import QUANTIZED_HERE, WeightFormat


def weight_format(config: RunKeys) -> WeightFormat:
    """The format to load weights in: `weights`, or what load_in_4bit says."""
    return config.weights or ("nf4" if config.load_in_4bit else "auto")


def faults(config: RunKeys) -> Iterator[str]:
    """The settings that contradict the format of the weights, one message each."""
    form = weight_format(config)
    if config.weights and config.is_set("load_in_4bit") and config.load_in_4bit != (form == "nf4"):
        yield (
            f"weights is {form!r} but load_in_4bit is {str(config.load_in_4bit).lower()}, "
            f"which means {'nf4' if config.load_in_4bit else 'anything else'}; keep one of them"
        )
    cache = config.replica.weight_cache
    if cache != "auto" and form not in QUANTIZED_HERE:
        needed = "set load_in_4bit: true or weights: int8, or remove it"
        yield f"replica.weight_cache: {cache} needs quantized weights; {needed}"
    for key in ("replica.double_quantization", "replica.quantization_block"):
        if not config.is_default(key) and form != "nf4":
            yield f"{key} is for weights: nf4 only; set that or remove {key}"
