"""Models with random weights, token histories and decoders for cuda_check: as large as in the reference run, or tiny.

Nothing is read from a disk or a network. Needs torch and transformers; NF4 needs bitsandbytes as well.
"""

import functools
import gc
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from swarmeval.engine.quiet import quiet

quiet()  # first: torch and related packages print messages at import
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.cuda_parts import Absent
from swarmeval.engine import graphs
from swarmeval.engine.common_prefix import Prompt
from swarmeval.engine.decoder import Decoder
from swarmeval.engine.decoder_choice import DEVICE_SIZES
from swarmeval.engine.graphs import Graphs, Recorder, Work
from swarmeval.engine.kernels import choice
from swarmeval.engine.kernels.choice import ChosenKernels
from swarmeval.engine.kernels.portable import PortableKernels
from swarmeval.engine.kernels.ragged_attention import ReferenceAttention
from swarmeval.engine.paged import PagedDecoder
from swarmeval.engine.pages import pages_of
from swarmeval.engine.slots import SlotDecoder
from swarmeval.engine.steps import Step
from swarmeval.engine.weights import fused

Begin = Callable[[], Recorder]
Weights = Literal["fp32", "bf16", "fused", "nf4"]  # fused: bf16 with joined projections and fused parts

LLAMA_8B = {
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
}  # fmt: skip
TINY = {
    "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes of all measurements."""

    config: Mapping[str, int | float]
    rows: tuple[int, ...]
    tokens: int  # in a row at the end of a measurement: prompt and answer
    prompt: int  # of them in the prompt, which all rows of a task share
    tasks: int
    steps: int  # per figure


REAL = Scale(LLAMA_8B, (16, 64, 128, 256), tokens=512, prompt=192, tasks=8, steps=10)
REHEARSED = Scale(TINY, (2, 4, 8), tokens=64, prompt=24, tasks=2, steps=2)


def scale_of(device: str) -> Scale:
    return REHEARSED if device == "cpu" else REAL


@contextmanager
def on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Models made in this context have random weights of this dtype on the device, the same each time."""
    torch.manual_seed(0)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(previous)


def llama(config: Mapping[str, int | float]) -> Any:
    """A Llama with random weights that never ends its text."""
    return LlamaForCausalLM(LlamaConfig(**config, eos_token_id=None, bos_token_id=None)).eval()


def pack(model: Any) -> None:
    """Quantize the linear layers to NF4 in place, except for the head."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    head = model.get_output_embeddings()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is torch.nn.Linear and child is not head:
                small = Linear4bit(
                    child.in_features, child.out_features, child.bias is not None, child.weight.dtype, quant_type="nf4",
                    compress_statistics=False, device="meta",
                )  # fmt: skip
                values = Params4bit(child.weight.data, False, quant_type="nf4", compress_statistics=False, module=small)
                small.weight, small.bias = values.to(child.weight.device), child.bias
                setattr(parent, name, small.eval())


def free() -> None:
    """Return unused memory to the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def wait(device: str) -> None:
    """Wait for all queued work."""
    if device != "cpu":
        torch.cuda.synchronize()


@dataclass
class Recording:
    """Recorders of steps that note how long each recording took: CUDA graphs, or the tests' stand-in on a CPU."""

    device: str
    seconds: list[float] = field(default_factory=list)

    def begin(self) -> Recorder:
        if self.device == "cpu":
            from tests.support.graph_recorder import Tape

            record = Tape().begin()
        else:
            record = graphs.on_cuda(torch.device(self.device, torch.cuda.current_device()))

        def timed(work: Work) -> Work:
            wait(self.device)
            began = time.perf_counter()
            replay = record(work)
            wait(self.device)
            self.seconds.append(time.perf_counter() - began)
            return replay

        return timed


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model with random weights, and the kernels for pages on its device, if there are any."""

    model: Any
    kernels: PortableKernels | None
    parts: Mapping[str, int] = field(default_factory=dict)  # that were fused, by kind
    compiled: bool = False  # whether by compiled kernels


def prepared(make: Callable[[], Any], weights: Weights, device: str, compiled: bool = True) -> Prepared:
    """Make a model on the device and prepare its weights. Without `compiled`, fused parts use torch's kernels."""
    with on(device, torch.float32 if weights == "fp32" else torch.bfloat16):
        model = make().eval()
    if weights == "nf4":
        pack(model)
    return fuse(model, compiled) if weights == "fused" else Prepared(model, kernels_for(model).portable)


def fuse(model: Any, compiled: bool) -> Prepared:
    """Fuse parts of the model in place, as a replica on a GPU does."""
    kernels = choice.chosen(model, one_device=True) if compiled and model.device.type != "cpu" else kernels_for(model)
    assert kernels.parts is not None
    return Prepared(model, kernels.portable, fused.fuse(model, kernels.parts), kernels.are_compiled)


def kernels_for(model: Any) -> ChosenKernels:
    """Kernels in torch alone; on a CPU, those that a GPU would have, over the reference of its attention."""
    reference = PortableKernels(ReferenceAttention(), model.dtype, model.device)
    portable = reference if model.device.type == "cpu" else choice.device_kernels(model)
    return ChosenKernels(portable=portable, parts=portable or reference)


def pages(made: Prepared, rows: int, longest: int, step: Step | None = None, share: bool = True) -> PagedDecoder:
    """A decoder over pages with room for all rows. Raises Absent if there are no kernels for it."""
    if made.kernels is None:
        raise Absent("attention over pages: torch 2.13 on a GPU")
    count = rows * (pages_of(longest, made.kernels.page) + 2)  # the prompt and the answer end on partly empty pages
    return PagedDecoder(made.model, made.kernels, rows, count, DEVICE_SIZES, longest, share, step)


GRAPHS = "CUDA graphs"  # in the names of decoders with which draws are recorded too
Make = Callable[[Prepared, int, int, Begin], Decoder]  # of a model, a number of rows, and the tokens of the longest

# The ways to decode that are measured, the most important first: a new one is a line here.
DECODERS: dict[str, Make] = {
    "pages, CUDA graphs": lambda made, rows, longest, begin: pages(made, rows, longest, Graphs(begin)),
    "slots, CUDA graphs": lambda made, rows, longest, begin: SlotDecoder(made.model, rows, False, Graphs(begin)),
    "pages": lambda made, rows, longest, begin: pages(made, rows, longest),
    "slots, prompts shared": lambda made, rows, longest, begin: SlotDecoder(made.model, rows, share=True),
    "pages, CUDA graphs, nothing shared": lambda made, rows, longest, begin: pages(
        made, rows, longest, Graphs(begin), share=False
    ),
    "slots": lambda made, rows, longest, begin: SlotDecoder(made.model, rows, share=False),
}


def fastest(made: Prepared) -> str:
    """The decoder that a replica on this device takes."""
    return "slots, CUDA graphs" if made.kernels is None else "pages, CUDA graphs"


@functools.cache
def some_tokens(seed: str, count: int, vocabulary: int) -> tuple[int, ...]:
    """Random token ids, the same for the same seed."""
    chance = random.Random(seed)
    return tuple(chance.randrange(vocabulary) for _ in range(count))


def history(row: int, scale: Scale, tokens: int) -> tuple[Prompt, Sequence[int]]:
    """Prompt and answer of a row, together of this length. Rows of a task are not neighbours."""
    vocabulary = int(scale.config["vocab_size"])
    prompt = some_tokens(f"task {row % scale.tasks}", scale.prompt, vocabulary)
    return prompt, some_tokens(f"row {row}", tokens - scale.prompt, vocabulary)
