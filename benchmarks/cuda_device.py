"""Steps 1 and 5 of cuda_check: the machine and its bandwidth, and attention alone."""

import functools
import importlib.metadata
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from benchmarks import cuda_model
from benchmarks.cuda_model import Scale
from benchmarks.cuda_parts import Absent, Found, Part
from swarmeval.engine import attention
from swarmeval.engine.kernels import ragged_attention
from swarmeval.engine.kernels.ragged_attention import ReferenceAttention, Segments

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "triton",
    "accelerate",
    "bitsandbytes",
    "msgspec",
    "pydantic",
    "vllm",
)
SMI = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu,mig.mode.current"
COPIES = 10
CALLS = 10


def machine(device: str) -> Iterator[Part]:
    """Step 1."""
    yield Part("versions", functools.partial(versions, device))
    yield Part("clocks", clocks)
    yield Part("bandwidth", functools.partial(bandwidth, device))


def versions(device: str) -> Found:
    """Versions of Python and of the packages that are installed, and the device."""
    found: dict[str, Any] = {"python": platform.python_version(), "cores": os.cpu_count()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    if device != "cpu":
        properties = torch.cuda.get_device_properties(0)
        free, total = torch.cuda.mem_get_info()
        found |= {
            "gpu": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "free_gb": round(free / 1e9, 2),
            "total_gb": round(total / 1e9, 2),
        }
    return found


def clocks() -> Found:
    """Clocks, driver and power limit, as nvidia-smi tells them."""
    if shutil.which("nvidia-smi") is None:
        raise Absent("nvidia-smi")
    command = ["nvidia-smi", f"--query-gpu={SMI}", "--format=csv,noheader"]
    rows = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.splitlines()
    return {"gpus": [dict(zip(SMI.split(","), row.split(", "), strict=True)) for row in rows]}


@torch.inference_mode()
def bandwidth(device: str) -> Found:
    """GB/s of a copy (bytes read and written), TFLOPS of a matrix product, microseconds per launch."""
    count, size = (1 << 29, 8192) if device != "cpu" else (1 << 20, 256)
    source = torch.zeros(count, dtype=torch.bfloat16, device=device)
    target = torch.empty_like(source)
    copy_s = seconds(lambda: target.copy_(source), COPIES, device)
    matrix = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    product_s = seconds(lambda: matrix @ matrix, COPIES, device)
    one = torch.zeros(1, device=device)
    launch_s = seconds(lambda: one.add_(1), 100 * COPIES, device)
    found = {
        "copy_gb_per_s": round(2 * source.nbytes / copy_s / 1e9, 1),
        "bf16_tflops": round(2 * size**3 / product_s / 1e12, 2),
        "launch_us": round(1e6 * launch_s, 2),
    }
    if device != "cpu":
        pinned = torch.empty(count // 4, dtype=torch.bfloat16, pin_memory=True)
        part = target[: count // 4]
        upload_s = seconds(lambda: part.copy_(pinned, non_blocking=True), COPIES, device)
        found["upload_gb_per_s"] = round(pinned.nbytes / upload_s / 1e9, 1)
    return found


def seconds(work: Callable[[], object], calls: int, device: str) -> float:
    """Median seconds per call of three rounds, after one call that is not counted."""
    work()
    rounds = []
    for _ in range(3):
        cuda_model.wait(device)
        began = time.perf_counter()
        for _ in range(calls):
            work()
        cuda_model.wait(device)
        rounds.append((time.perf_counter() - began) / calls)
    return statistics.median(rounds)


def attend_alone(device: str) -> Iterator[Part]:
    """Step 5: milliseconds of one layer's attention in a decode step, by variant."""
    scale = cuda_model.scale_of(device)
    for rows in (scale.rows[1], scale.rows[-1]):
        for name, variant in VARIANTS.items():
            yield Part(f"{name}, {rows} rows", functools.partial(measured, variant, rows, scale, device))
            cuda_model.free()


@torch.inference_mode()
def measured(variant: "Variant", rows: int, scale: Scale, device: str) -> Found:
    """Time, and GB/s of the keys and values that the variant has to read."""
    work, read_bytes = variant(rows, scale, device)
    layer_s = seconds(work, CALLS, device)
    layers = int(scale.config["num_hidden_layers"])
    return {
        "layer_ms": round(1000 * layer_s, 4),
        "step_ms": round(1000 * layer_s * layers, 3),
        "gb_per_s": round(read_bytes / layer_s / 1e9, 1),
    }


Variant = Callable[[int, Scale, str], tuple[Callable[[], object], int]]


def shapes(scale: Scale) -> tuple[int, int, int]:
    """Query heads, key heads, head size."""
    heads = int(scale.config["num_attention_heads"])
    return heads, int(scale.config["num_key_value_heads"]), int(scale.config["hidden_size"]) // heads


def normal(device: str, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.bfloat16, device=device)


def slots(rows: int, scale: Scale, device: str) -> tuple[Callable[[], object], int]:
    """transformers' SDPA over a rectangle of slots with a mask, as a step over slots calls it."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    heads, key_heads, size = shapes(scale)
    query = normal(device, rows, heads, 1, size)
    keys, values = (normal(device, rows, key_heads, scale.tokens, size) for _ in range(2))
    mask = torch.zeros(rows, 1, 1, scale.tokens, dtype=torch.bfloat16, device=device)
    layer = SimpleNamespace(num_key_value_groups=heads // key_heads, is_causal=True, training=False)
    attend = ALL_ATTENTION_FUNCTIONS["sdpa"]
    return lambda: attend(layer, query, keys, values, mask, scaling=size**-0.5), 2 * keys.nbytes


def shared_slots(rows: int, scale: Scale, device: str) -> tuple[Callable[[], object], int]:
    """Our attention over slots, with the prompts of the tasks read once for all of their rows."""
    heads, key_heads, size = shapes(scale)
    query = normal(device, rows, heads, 1, size)
    own = scale.tokens - scale.prompt
    keys, values = (normal(device, rows, key_heads, own, size) for _ in range(2))
    mask = torch.zeros(rows, 1, 1, own, dtype=torch.bfloat16, device=device)
    groups = []
    for task in range(scale.tasks):
        prompt = [normal(device, 1, key_heads, scale.prompt, size) for _ in range(2)]
        groups.append(attention.RowGroup(tuple(range(task, rows, scale.tasks)), [(prompt[0], prompt[1])]))
    prefixes = attention.Prefixes(groups, rows, torch.device(device))
    model = SimpleNamespace(config=SimpleNamespace(_attn_implementation=attention.BASE))
    layer = SimpleNamespace(layer_idx=0)

    def work() -> None:
        with attention.sharing(model, prefixes):
            attention.attend(layer, query, keys, values, mask, scaling=size**-0.5)

    return work, 2 * keys.nbytes + scale.tasks * scale.prompt * 2 * key_heads * size * 2


def pages(kind: Callable[[str], Any], rows: int, scale: Scale, device: str) -> tuple[Callable[[], object], int]:
    """A ragged attention over pages, nothing shared."""
    attend = kind(device)
    heads, key_heads, size = shapes(scale)
    width = -(-scale.tokens // attend.page)
    query = normal(device, rows, heads, size)
    keys, values = (normal(device, rows * width, attend.page, key_heads, size) for _ in range(2))
    ends = torch.arange(rows + 1, dtype=torch.int32, device=device)
    lengths = torch.full((rows,), scale.tokens, dtype=torch.int32, device=device)
    table = torch.arange(rows * width, dtype=torch.int32, device=device).view(rows, width)
    read = 2 * rows * scale.tokens * key_heads * size * keys.element_size()
    segments = Segments(ends, lengths, table, longest=1, causal=True)
    return lambda: attend(query, keys, values, segments, size**-0.5), read


def flash(device: str) -> Any:
    """torch's FlashAttention over pages. Raises Absent if torch is too old or the device is not a GPU."""
    found = ragged_attention.flash_attention(torch.device(device), torch.bfloat16)
    if found is None:
        raise Absent("varlen_attn with block_table: torch 2.13 on a GPU")
    return found


VARIANTS: dict[str, Variant] = {
    "slots, SDPA": slots,
    "slots, prompts shared": shared_slots,
    "pages, varlen_attn": functools.partial(pages, flash),
    "pages, portable reference": functools.partial(pages, lambda device: ReferenceAttention()),
}
