"""Numbers from the host to where the model lies, without waiting for what is being computed there."""

from collections.abc import Sequence

import torch
from torch import Tensor


def upload(numbers: Sequence[float | Sequence[float]], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of the numbers on the device."""
    if device.type != "cuda":
        return torch.tensor(numbers, dtype=dtype, device=device)
    # From pageable memory the host would wait until all work queued on the device is done. Torch keeps pinned memory
    # from being used again before it is read.
    return torch.tensor(numbers, dtype=dtype, pin_memory=True).to(device, non_blocking=True)
