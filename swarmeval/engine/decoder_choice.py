"""Choice of a model's decoder: pages, slots with CUDA graphs, slots with or without shared prompts, or separate rows.

The first decoder that reproduces the logits of plain decoding wins. Every rejection is logged with its reason.
"""

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from swarmeval.engine import attention
from swarmeval.engine.budget import Budget
from swarmeval.engine.common_prefix import MIN_ROWS, MIN_TOKENS, Prompt
from swarmeval.engine.decoder import MODEL_FAULTS, SPARE, Decoder, Unsupported
from swarmeval.engine.graphs import Graphs, Recorder
from swarmeval.engine.kernels.native import NativeKernels
from swarmeval.engine.kernels.portable import PortableKernels
from swarmeval.engine.out_of_memory import is_out_of_memory
from swarmeval.engine.paged import PagedDecoder
from swarmeval.engine.pages import pages_of
from swarmeval.engine.separate import SeparateDecoder
from swarmeval.engine.slots import SlotDecoder
from swarmeval.engine.steps import Step
from swarmeval.engine.weights.cpu_weights import GRAIN, steady_sizes

# Tokens per forward over pages, most first: large batches read the weights less often. The first value is taken for
# which smaller batches give the same bits.
MOST_TOKENS = (240, 128)
DEVICE_SIZES = (*range(8, 65, 8), *range(80, 257, 16), 512, 1024, 2048)  # decode steps are recorded once per size
SMALL = 64  # tokens: padding a batch to this size wastes little
_STEPS = 3
_TRIAL_TOKENS = 64  # a row of the check has fewer
# Allowed error, relative to the norm of the logits. Rounding in a deep 16-bit model reaches about 0.02; a wrong mask or
# position exceeds 0.5.
_TOLERANCE = {torch.float32: 1e-3}
_TOLERANCE_16_BIT = 0.1

log = logging.getLogger("swarmeval")


@dataclass(frozen=True, slots=True)
class ChosenDecoder:
    """The decoder of a model, with its name for the manifest and the log."""

    decoder: Decoder
    name: str  # "pages", "pages, CUDA graphs", "slots", "slots, CUDA graphs", "slots, prompts shared", "one by one"
    steady: bool = False  # a row gets the same bits in any batch


def within_window(model: Any, budget: Budget) -> Budget:
    """The budget with requests limited to the model's attention window, if all requests of this run fit into that.

    The rows of such a run can then be decoded together, with full attention.
    """
    window = _window(model)
    if window is None or budget.longest_tokens is None or budget.longest_tokens > window:
        return budget
    return replace(budget, context_tokens=min(window, budget.context_tokens))


def fitted(
    model: Any,
    budget: Budget,
    compiled: NativeKernels | None,
    share: bool = True,
    begin: Callable[[], Recorder] | None = None,
    portable: PortableKernels | None = None,
) -> ChosenDecoder:
    """Choose a decoder for this model with room for the budget's rows. Without `share`, rows share no prompts.

    `portable` are the kernels for pages where none are compiled. With `begin` (see Graphs), steps are recorded and
    replayed if possible; over slots, rows then share no prompts either.
    """
    reason = _unsupported_layers(model, budget.context_tokens)
    if reason is None and compiled is not None:
        chosen = _compiled_pages(model, budget, compiled, share)
        if chosen is not None:
            return chosen
    if reason is None and portable is not None:
        chosen = _pages_on_device(model, budget, portable, share, begin)
        if chosen is not None:
            return chosen
    if reason is None:
        slots = _slots(model, budget, share, begin)
        if isinstance(slots, ChosenDecoder):
            return slots
        reason = slots
    log.warning("rows are decoded one by one: %s", reason)
    if importlib.util.find_spec("vllm") is not None:
        log.warning("vLLM is installed and may decode rows of this model together: set fleet: vllm")
    return ChosenDecoder(SeparateDecoder(model), "one by one")


def _compiled_pages(model: Any, budget: Budget, compiled: NativeKernels, share: bool) -> ChosenDecoder | None:
    """Pages on the CPU; None, with the reason logged, if they do not suit the model."""
    sizes, steady = _sizes(model)
    trial = _pages_per_trial_row(compiled.page)

    def paged(rows: int, pages: int) -> PagedDecoder:
        return PagedDecoder(model, compiled, rows, pages, sizes, budget.context_tokens, share)

    fault = unsuited(model, lambda rows: paged(rows, trial * rows))
    if fault is not None:
        log.warning("no compiled attention: %s", fault)
        return None
    if steady and not _same_in_any_batch(model, lambda rows: paged(rows, trial * rows), sizes[-1]):
        sizes = [size for size in sizes if size % GRAIN == 0]  # odd sizes may suit the layers but not the model
        steady = _same_in_any_batch(model, lambda rows: paged(rows, trial * rows), sizes[-1])
    halves = 2 * budget.rows  # the last page of each prompt and of each answer may be partly empty
    pages = pages_of(budget.tokens, compiled.page) + halves
    return ChosenDecoder(paged(budget.rows + SPARE, pages), "pages", steady)


def _pages_on_device(
    model: Any, budget: Budget, kernels: PortableKernels, share: bool, begin: Callable[[], Recorder] | None
) -> ChosenDecoder | None:
    """Pages on the model's device, with recorded steps if possible; None, with the reason logged, if not suited."""

    def paged(rows: int, pages: int, step: Step | None = None) -> PagedDecoder:
        return PagedDecoder(model, kernels, rows, pages, DEVICE_SIZES, budget.context_tokens, share, step)

    # A decoder without rows has room for any request: its prompt and its answer may each end on a partly empty page.
    pages, trial = pages_of(budget.tokens, kernels.page) + 2, _pages_per_trial_row(kernels.page)
    if begin is not None:
        graphs = Graphs(begin)
        fault = unsuited(model, lambda rows: paged(rows, trial * rows, graphs))
        graphs.forget()
        if fault is None and graphs.fault is None:
            return ChosenDecoder(paged(budget.rows + SPARE, pages, graphs), "pages, CUDA graphs")
        if graphs.fault is None:
            log.warning("no CUDA graphs over pages: %s", fault)
    fault = unsuited(model, lambda rows: paged(rows, trial * rows))
    if fault is None:
        return ChosenDecoder(paged(budget.rows + SPARE, pages), "pages")
    log.warning("no pages: %s", fault)
    return None


def _sizes(model: Any) -> tuple[list[int], bool]:
    """The batch sizes for paged decoding, and whether a row gets the same bits in all of them."""
    for most in MOST_TOKENS:
        sizes, steady = steady_sizes(model, most)
        if steady and sizes[0] <= SMALL:
            break
    return sizes, steady


def _pages_per_trial_row(page: int) -> int:
    return pages_of(_TRIAL_TOKENS, page) + 2  # its prompt and its answer may each end on a partly empty page


def _slots(model: Any, budget: Budget, share: bool, begin: Callable[[], Recorder] | None) -> ChosenDecoder | str:
    """Slots, recorded if possible; the reason, if they do not suit the model."""
    rows, tokens = budget.rows + SPARE, budget.tokens
    if begin is not None:
        recorded = _recorded(model, rows, begin, tokens)
        if recorded is not None:
            return ChosenDecoder(recorded, "slots, CUDA graphs")
    if share:
        fault = _other_attention(model) or unsuited(model, lambda rows: SlotDecoder(model, rows, share=True))
        if fault is None:
            return ChosenDecoder(SlotDecoder(model, rows, share=True, tokens=tokens), "slots, prompts shared")
        log.warning("rows share no prompts: %s", fault)
    fault = unsuited(model, lambda rows: SlotDecoder(model, rows, share=False))
    return fault or ChosenDecoder(SlotDecoder(model, rows, share=False, tokens=tokens), "slots")


def _recorded(model: Any, rows: int, begin: Callable[[], Recorder], tokens: int) -> SlotDecoder | None:
    """A slot decoder that replays recorded steps; None, with the reason logged, if recording fails."""
    graphs = Graphs(begin)

    def new_decoder(rows: int, tokens: int | None = None) -> SlotDecoder:
        return SlotDecoder(model, rows, share=False, step=graphs, tokens=tokens)

    fault = unsuited(model, lambda rows: new_decoder(2 * rows))  # twice the rows: the check includes padding rows
    graphs.forget()
    if fault is None and graphs.fault is None:
        return new_decoder(rows, tokens)
    if graphs.fault is None:
        log.warning("no CUDA graphs: %s", fault)
    return None


@torch.inference_mode()
def unsuited(model: Any, make: Callable[[int], Decoder]) -> str | None:
    """The reason why a decoder cannot serve the model; None if it can. `make` takes the number of rows."""
    try:
        changed = difference(model, make)
    except MODEL_FAULTS as error:
        if is_out_of_memory(error):
            raise
        return f"{type(model).__name__} fails with it: {type(error).__name__}: {error}"
    if not changed <= tolerance(model):
        return f"the logits of {type(model).__name__} change by {changed:.2g} of their norm"
    return None


def tolerance(model: Any) -> float:
    """The largest acceptable `difference` for a decoder of this model."""
    return _TOLERANCE.get(model.dtype, _TOLERANCE_16_BIT)


@torch.inference_mode()
def difference(model: Any, make: Callable[[int], Decoder]) -> float:
    """Relative error of a decoder's logits against plain decoding, as a share of their norm.

    Two prompts that begin alike and a short one have three rows each, in turn, so that whatever rows can share is
    shared; then one row is forked and another evicted.
    """
    vocabulary = model.config.get_text_config().vocab_size
    first = _some_prompt(vocabulary, 2 * MIN_TOKENS + 8)
    second = (*first[:MIN_TOKENS], *_some_prompt(vocabulary, MIN_TOKENS + 3))
    prompts = [first, second, _some_prompt(vocabulary, 5)] * MIN_ROWS
    logits = _logits(make(len(prompts) + 1), prompts)
    expected = _logits(SeparateDecoder(model), prompts)
    return float((logits - expected).norm() / expected.norm())


@torch.inference_mode()
def _same_in_any_batch(model: Any, make: Callable[[int], Decoder], rows: int) -> bool:
    """Whether the whole model gives a row the same bits alone and in a batch of `rows`."""
    vocabulary = model.config.get_text_config().vocab_size
    prompt, other = (_some_prompt(vocabulary, length) for length in (20, 5))
    single, batched = (_steps(make(count), [prompt] + [other] * (count - 1))[:, 0] for count in (1, rows))
    return torch.equal(single, batched)


def _window(model: Any) -> int | None:
    """The shortest attention window of the model's layers, in tokens."""
    layers = DynamicCache(config=model.config).layers
    return min((layer.sliding_window for layer in layers if type(layer) is DynamicSlidingWindowLayer), default=None)


def _unsupported_layers(model: Any, longest: int) -> str | None:
    """The reason why rows of up to `longest` tokens cannot share a cache; a window that holds them hides nothing."""
    window = _window(model)
    if window is not None and window < longest:
        return f"its attention window of {window} tokens is shorter than a row of up to {longest}"
    kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
    unsupported = ", ".join(sorted(kind.__name__ for kind in kinds - {DynamicLayer, DynamicSlidingWindowLayer}))
    return f"its cache layers are not supported: {unsupported}" if unsupported else None


def _other_attention(model: Any) -> str | None:
    if model.config._attn_implementation != attention.BASE:
        return f"{type(model).__name__} uses {model.config._attn_implementation} attention"
    return None


def _logits(decoder: Decoder, prompts: list[Prompt]) -> Tensor:
    """The decoder's logits for the prompts, a few tokens after them, a fork and an eviction: flat, fp32."""
    parts = [_steps(decoder, prompts)]
    if not decoder.fork(1, len(prompts[1]) + _STEPS, _STEPS + 2):
        raise Unsupported("rows cannot be forked")
    parts.append(decoder.decode([7 + row for row in range(len(prompts) + 1)]))
    decoder.evict(0)
    parts.append(decoder.decode([3 + row for row in range(len(prompts))]))
    return torch.cat([part.float().flatten() for part in parts])


def _steps(decoder: Decoder, prompts: list[Prompt]) -> Tensor:
    """The decoder's logits for the prompts and a few tokens after them: [steps, rows, vocabulary], fp32."""
    for prompt in prompts:
        decoder.join(prompt, _STEPS + 2)
    steps = [decoder.prefill().float()]
    for step in range(_STEPS):
        tokens = [prompt[(step + row) % len(prompt)] for row, prompt in enumerate(prompts)]
        steps.append(decoder.decode(tokens).float())
    return torch.stack(steps)


def _some_prompt(vocabulary: int, length: int) -> Prompt:
    return tuple((7 + 37 * length * place) % vocabulary for place in range(1, length + 1))
