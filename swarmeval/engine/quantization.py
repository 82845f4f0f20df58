"""The weights of a 4-bit model: how many of them are quantized, and how."""

from typing import Any

LEAST_SHARE = 0.8  # of the weights of a 4-bit model, embeddings aside; dense models exceed 0.99
DOUBLE = ", double-quantized"  # follows "nf4" where the scales of the weights are quantized as well


def share(model: Any) -> tuple[float, str]:
    """The share of the weights that are 4-bit, by number before quantization, and the name of the largest that is not.

    Embeddings and the output head do not count.
    """
    import torch
    from bitsandbytes.nn import Linear4bit

    quantized, others = 0, {"": 0}
    for name, module in model.named_modules():
        if isinstance(module, Linear4bit):
            quantized += module.in_features * module.out_features
        elif not isinstance(module, torch.nn.Embedding) and module is not model.get_output_embeddings():
            others |= {f"{name}.{own}": weight.numel() for own, weight in module.named_parameters(recurse=False)}
    return quantized / (quantized + sum(others.values())), max(others, key=others.__getitem__)


def kind(model: Any) -> str:
    """The kind of a model's 4-bit weights. A model that was saved in 4 bits keeps its own."""
    from bitsandbytes.nn import Linear4bit

    state = next(module.weight.quant_state for module in model.modules() if isinstance(module, Linear4bit))
    return f"{state.quant_type}{DOUBLE if state.nested else ''}"
