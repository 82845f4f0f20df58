"""Choice of a model's kernels: compiled in C++ on a CPU; in torch on a GPU, with small functions compiled by Triton."""

import logging
from dataclasses import dataclass
from typing import Any

import torch

from swarmeval.engine.draw import Penalty, Scores
from swarmeval.engine.kernels import compiled, native
from swarmeval.engine.kernels.contract import Kernels
from swarmeval.engine.kernels.native import NativeKernels
from swarmeval.engine.kernels.pointwise import PLAIN, SmallFunctions
from swarmeval.engine.kernels.portable import PortableKernels
from swarmeval.engine.kernels.ragged_attention import ReferenceAttention, flash_attention

log = logging.getLogger("swarmeval")


@dataclass(frozen=True, slots=True)
class ChosenKernels:
    """The kernels of a model; None where there are none."""

    native: NativeKernels | None = None  # for everything, on a CPU
    portable: PortableKernels | None = None  # for pages, on a GPU
    parts: Kernels | None = None  # for fused parts, on either

    @property
    def are_compiled(self) -> bool:
        return self.parts is not None and self.parts.compiled


def chosen(model: Any, one_device: bool) -> ChosenKernels:
    """The kernels for the model's device. Without `one_device`, the model is sharded, and pages have no kernels."""
    if model.device.type == "cpu":
        on_cpu = native_kernels(model.dtype)
        return ChosenKernels(native=on_cpu, parts=on_cpu)
    functions = compiled.functions(model.device, model.dtype)
    portable = device_kernels(model, functions) if one_device else None
    without_pages = PortableKernels(ReferenceAttention(), model.dtype, model.device, functions)
    return ChosenKernels(portable=portable, parts=portable or without_pages)


def native_kernels(dtype: torch.dtype) -> NativeKernels | None:
    """The compiled kernels for a model on the CPU; None if unavailable or if their top scores differ from torch's."""
    try:
        loaded = native.load(dtype)
    except native.Unavailable as error:
        log.warning("no compiled kernels: %s", error)
        return None
    if not _finds_best_scores(loaded):
        log.warning("no compiled kernels: their top scores differ from torch's")
        return None
    return loaded


def device_kernels(model: Any, functions: SmallFunctions = PLAIN) -> PortableKernels | None:
    """The kernels for pages on the model's GPU; None, with the reason logged, if torch has none that are right."""
    flash = flash_attention(model.device, model.dtype)
    return None if flash is None else PortableKernels(flash, model.dtype, model.device, functions)


def _finds_best_scores(kernels: NativeKernels) -> bool:
    """Whether the compiled top-k agrees with torch on rows with ties and with a repetition penalty."""
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(3, 5000, generator=generator) * 4).round().to(kernels.dtype) / 2
    history = torch.randint(0, 5000, (3, 40), generator=generator)
    penalty = Penalty(history, torch.full((3,), 40, dtype=torch.int32), torch.tensor([1.0, 1.3, 0.7]))
    values, ids = Scores(logits, penalty, kernels).best(50)
    expected, expected_ids = Scores(logits, penalty).best(50)
    above = expected > expected[:, -1:]  # of scores tied for the last place, torch may take any
    return torch.equal(values, expected) and torch.equal(ids[above], expected_ids[above])
