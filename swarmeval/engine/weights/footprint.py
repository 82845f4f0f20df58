"""The memory that a model's weights take, measured from their storage. Counts what quantization adds, too."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

WHOLE = 0.98  # of the unquantized size; a model with quantized weights is smaller


def stored_bytes(model: Any) -> int:
    """Bytes of all parameters and buffers, with the scales and tables of quantized ones. Shared storage counts once."""
    sizes: dict[int, int] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        sizes |= dict(_storages(tensor))
    for module in model.modules():
        sizes |= dict(_beside(module))
    return sum(sizes.values())


def weight_count(config: Any, code: bool) -> int | None:
    """The number of weights of a model before any quantization, from an empty model of its configuration.

    None if transformers cannot make one.
    """
    import torch
    from transformers import AutoModelForCausalLM

    plain = type(config).from_dict({key: one for key, one in config.to_dict().items() if key != "quantization_config"})
    try:
        with torch.device("meta"):
            empty = AutoModelForCausalLM.from_config(plain, trust_remote_code=code)
    except (ValueError, RuntimeError, TypeError, AttributeError, LookupError, ImportError):
        return None
    return sum(int(weight.numel()) for weight in empty.parameters())


def is_unpacked(stored: int, count: int | None, dtype: "torch.dtype") -> bool:
    """Whether `stored` bytes are as many as `count` weights take without quantization."""
    return count is not None and stored >= WHOLE * count * dtype.itemsize


def _storages(tensor: Any) -> Iterator[tuple[int, int]]:
    """(address, bytes) of the storages behind a tensor, which may be made of others."""
    if hasattr(tensor, "__tensor_flatten__"):  # of torchao
        for name in tensor.__tensor_flatten__()[0]:
            yield from _storages(getattr(tensor, name))
        return
    if tensor.device.type != "meta" and tensor.numel():
        yield tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
    state = getattr(tensor, "quant_state", None)  # of bitsandbytes, 4-bit
    while state is not None:
        for one in (state.absmax, state.code, getattr(state, "offset", None)):
            if one is not None:
                yield from _storages(one)
        state = getattr(state, "state2", None)  # of the scales, if they are quantized


def _beside(module: Any) -> Iterator[tuple[int, int]]:
    """The storages that bitsandbytes' 8-bit layers keep beside their parameters."""
    state = getattr(module, "state", None)
    for name in ("CB", "SCB"):
        if (one := getattr(state, name, None)) is not None:
            yield from _storages(one)
