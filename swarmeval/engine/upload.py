"""Copies of numbers from the host to the model's device that do not wait for queued work."""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def upload(numbers: Sequence[float | Sequence[float]], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Copy the numbers into a tensor on the device."""
    if device.type != "cuda":
        return torch.tensor(numbers, dtype=dtype, device=device)
    # A copy from pageable memory would block the host until all queued work on the device is done. Torch does not reuse
    # pinned memory before it has been read.
    return torch.tensor(numbers, dtype=dtype, pin_memory=True).to(device, non_blocking=True)


def upload_array(numbers: NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to the device."""
    tensor = torch.from_numpy(numbers)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
