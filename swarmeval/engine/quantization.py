"""The quantized weights of a loaded model: how many there are, their kind, and a check that none is missing."""

import sys
from collections.abc import Callable
from typing import Any

from swarmeval.errors import DeviceError
from swarmeval.weight_formats import BLOCK, DOUBLE, WeightFormat

LEAST_SHARE = 0.8  # of the weights of a quantized model, embeddings aside; dense models exceed 0.99


def is_nf4(module: Any) -> bool:
    """Whether a module is a linear layer with 4-bit weights of bitsandbytes."""
    library = sys.modules.get("bitsandbytes")  # not imported here: models without such layers need not have it
    return library is not None and isinstance(module, library.nn.Linear4bit)


def is_int8(module: Any) -> bool:
    """Whether a module is a linear layer with int8 weights of torchao."""
    import torch

    return type(module) is torch.nn.Linear and type(module.weight).__name__ == "Int8Tensor"


def share(model: Any, is_quantized: Callable[[Any], bool] = is_nf4) -> tuple[float, str]:
    """The share of the weights that are quantized, by number before that, and the name of the largest that is not.

    Embeddings and the output head do not count.
    """
    import torch

    quantized, others = 0, {"": 0}
    for name, module in model.named_modules():
        if is_quantized(module):
            quantized += module.in_features * module.out_features
        elif not isinstance(module, torch.nn.Embedding) and module is not model.get_output_embeddings():
            others |= {f"{name}.{own}": weight.numel() for own, weight in module.named_parameters(recurse=False)}
    return quantized / (quantized + sum(others.values())), max(others, key=others.__getitem__)


def check(model: Any, weights: WeightFormat) -> None:
    """Raise DeviceError unless the weights are quantized as `weights` says: nf4 or int8.

    Every linear layer must be, and most of all weights: only linear layers are converted, and the fused experts of a
    mixture-of-experts model stay in 16 bits. The output head is exempt.
    """
    import torch

    is_quantized = is_nf4 if weights == "nf4" else is_int8
    setting = "load_in_4bit is true" if weights == "nf4" else "weights is 'int8'"
    remedy = f"{'set load_in_4bit: false' if weights == 'nf4' else 'set weights: bf16'} for this model"
    head = model.get_output_embeddings()
    linears = [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]
    plain = [name for name, module in linears if not is_quantized(module)]
    if plain or not linears:
        problem = f"{plain[0]} is not" if plain else "it has no linear layers"
        raise DeviceError(f"{setting} but {problem} quantized; {remedy}")
    part, largest = share(model, is_quantized)
    if part < LEAST_SHARE:
        library = "bitsandbytes" if weights == "nf4" else "torchao"
        raise DeviceError(
            f"{setting} but only {part:.0%} of the weights (embeddings aside) are quantized: {library} "
            f"leaves {largest} in 16 bits; {remedy}{', or use fleet: vllm' if weights == 'nf4' else ''}"
        )


def kind(model: Any) -> str:
    """The kind of a model's 4-bit weights. A model that was saved in 4 bits keeps its own."""
    state = next(module.weight.quant_state for module in model.modules() if is_nf4(module))
    block = f", blocks of {state.blocksize}" if state.blocksize != BLOCK else ""
    return f"{state.quant_type}{DOUBLE if state.nested else ''}{block}"
