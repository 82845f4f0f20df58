"""The small functions compiled by torch.compile, which makes one kernel of several. On a GPU it uses Triton.

Each compiled function is checked against the plain one and dropped, with the reason logged, if it does not suit.
"""

import dataclasses
import importlib.util
import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from swarmeval.engine.decoder import MODEL_FAULTS
from swarmeval.engine.kernels.pointwise import PLAIN, SmallFunctions

LIMIT_S = 120.0  # for all functions; one that takes long may do so again for a new shape, in the middle of a run
_TOKENS = (1, 7)  # a single token is compiled separately
_TOLERANCE = {torch.float32: 1e-5}  # allowed error, relative to the plain output's norm
_TOLERANCE_16_BIT = 1e-2

Function = Callable[..., Any]
Backend = str | Callable[..., Any]

log = logging.getLogger("swarmeval")


def functions(device: torch.device, dtype: torch.dtype) -> SmallFunctions:
    """The functions for a GPU, compiled if Triton is installed."""
    if importlib.util.find_spec("triton") is None:
        log.warning("no compiled kernels: Triton is not installed")
        return PLAIN
    return compiled(device, dtype)


def compiled(
    device: torch.device, dtype: torch.dtype, backend: Backend = "inductor", limit_s: float = LIMIT_S
) -> SmallFunctions:
    """The functions compiled for this device, each only if that works in time and changes no result."""
    if "TORCHINDUCTOR_COMPILE_THREADS" not in os.environ:
        import torch._inductor.config as inductor

        inductor.compile_threads = 1  # more would be processes that outlive this one if it is killed
    began = time.monotonic()
    made = {}
    for name, examples in _examples(device, dtype).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of its own code
            function = _compiled(getattr(PLAIN, name), examples, backend)
        took_s = time.monotonic() - began
        if callable(function) and took_s <= limit_s:
            made[name] = function
            continue
        reason = f"that takes more than {limit_s:.0f} s" if callable(function) else function
        log.warning("%s is not compiled: %s", name, reason)
        if took_s > limit_s:
            break
    return dataclasses.replace(PLAIN, **made)


def _examples(device: torch.device, dtype: torch.dtype) -> dict[str, list[tuple[Any, ...]]]:
    """Arguments of each function, for each count of tokens."""
    heads, key_heads, size, page = 4, 2, 64, 16
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int, kind: torch.dtype = dtype) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, kind)

    examples: dict[str, list[tuple[Any, ...]]] = {field.name: [] for field in dataclasses.fields(SmallFunctions)}
    for tokens in _TOKENS:
        pools = [normal(4, page, key_heads, size) for _ in range(2)]
        where = [
            torch.tensor([-1, 0, 2, 1, 0, 1, 2][-tokens:], dtype=torch.int32, device=device),
            torch.tensor([0, 3, 15, 0, 4, 1, 2][-tokens:], dtype=torch.int32, device=device),
        ]
        joined = normal(tokens, heads + 2 * key_heads, size)
        outputs = [normal(tokens, heads, size) for _ in range(2)]
        sums = [normal(heads, tokens, kind=torch.float32).T for _ in range(2)]
        examples["merged"].append((outputs[0], sums[0], outputs[1], sums[1]))
        examples["put"].append((joined[:, -2 * key_heads : -key_heads], joined[:, -key_heads:], *pools, *where))
        examples["rotate_and_put"].append((joined, normal(tokens, size), normal(tokens, size), *pools, *where))
        examples["rms_norm"].append((normal(tokens, 96), normal(96), 1e-5))
        examples["gate"].append((normal(tokens, 192),))
    return examples


@torch.inference_mode()
def _compiled(plain: Function, examples: Sequence[tuple[Any, ...]], backend: Backend) -> Function | str:
    """The function compiled; the reason, if that fails or changes a result."""
    try:
        function = torch.compile(plain, backend=backend, dynamic=True)
        pairs = [(_results(function, example), _results(plain, example)) for example in examples]
    except (*MODEL_FAULTS, ImportError, OSError) as error:  # torch wraps what its backends raise in a RuntimeError
        cause = getattr(error, "inner_exception", error)
        return f"{type(cause).__name__}: {cause}".splitlines()[0]
    for found, expected in pairs:
        for one, other in zip(found, expected, strict=True):
            limit = _TOLERANCE.get(other.dtype, _TOLERANCE_16_BIT)
            if not (one.float() - other.float()).norm() <= limit * other.float().norm():
                return "its results differ from torch's"
    return function


def _results(function: Function, example: tuple[Any, ...]) -> list[Tensor]:
    """The output of a function, if it has one, and its arguments, which it may change."""
    arguments = [part.clone() if isinstance(part, Tensor) else part for part in example]
    output = function(*arguments)
    return [part for part in (output, *arguments) if isinstance(part, Tensor)]
