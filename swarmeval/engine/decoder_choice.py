"""Choice of a model's decoder: compiled pages, CUDA graphs over slots, slots with or without shared prompts, or
separate rows.

The first decoder that reproduces the logits of plain decoding wins. Every rejection is logged with its reason.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from swarmeval.engine import attention
from swarmeval.engine.budget import Budget
from swarmeval.engine.common_prefix import Prompt
from swarmeval.engine.cpu_weights import GRAIN, steady_sizes
from swarmeval.engine.decoder import MODEL_FAULTS, Decoder
from swarmeval.engine.draw import Penalty, Scores
from swarmeval.engine.graphs import Graphs, Recorder
from swarmeval.engine.kernels import native
from swarmeval.engine.kernels.native import NativeKernels
from swarmeval.engine.paged import PagedDecoder
from swarmeval.engine.pages import pages_of
from swarmeval.engine.rows import SPARE
from swarmeval.engine.separate import SeparateDecoder
from swarmeval.engine.slots import SlotDecoder

# Tokens per forward over pages, most first: large batches read the weights less often. The first value is taken for
# which smaller batches give the same bits.
MOST_TOKENS = (240, 128)
SMALL = 64  # tokens: padding a batch to this size wastes little
_STEPS = 3
# Allowed error, relative to the norm of the logits. Rounding in a deep 16-bit model reaches about 0.02; a wrong mask or
# position exceeds 0.5.
_TOLERANCE = {torch.float32: 1e-3}
_TOLERANCE_16_BIT = 0.1

log = logging.getLogger("swarmeval")


@dataclass(frozen=True, slots=True)
class ChosenDecoder:
    """The decoder of a model, with its name for the manifest and the log."""

    decoder: Decoder
    name: str  # "pages", "slots, CUDA graphs", "slots, prompts shared", "slots", "one by one"
    steady: bool = False  # a row gets the same bits in any batch


def kernels(dtype: torch.dtype) -> NativeKernels | None:
    """The compiled kernels for a model on the CPU; None if unavailable or if their top scores differ from torch's."""
    try:
        compiled = native.load(dtype)
    except native.Unavailable as error:
        log.warning("no compiled kernels: %s", error)
        return None
    if not _finds_best_scores(compiled):
        log.warning("no compiled kernels: their top scores differ from torch's")
        return None
    return compiled


def fitted(
    model: Any,
    budget: Budget,
    compiled: NativeKernels | None,
    share: bool = True,
    begin: Callable[[], Recorder] | None = None,
) -> ChosenDecoder:
    """Choose a decoder for this model with room for the budget's rows. Without `share`, rows share no prompts.

    With `begin` (see Graphs), steps are recorded and replayed if possible. Rows then share no prompts either.
    """
    reason, most_rows = _unsupported_layers(model), budget.rows + SPARE
    if reason is None and compiled is not None:
        sizes, steady = _sizes(model)

        def paged(rows: int, pages: int) -> PagedDecoder:
            return PagedDecoder(model, compiled, rows, pages, sizes, share)

        fault = unsuited(model, lambda rows: paged(rows, 4 * rows))
        if fault is None:
            halves = 2 * budget.rows  # the last page of each prompt and of each answer may be partly empty
            if steady and not _same_in_any_batch(model, lambda rows: paged(rows, 4 * rows), sizes[-1]):
                sizes = [size for size in sizes if size % GRAIN == 0]  # odd sizes may suit the layers but not the model
                steady = _same_in_any_batch(model, lambda rows: paged(rows, 4 * rows), sizes[-1])
            return ChosenDecoder(paged(most_rows, pages_of(budget.tokens, compiled.page) + halves), "pages", steady)
        log.warning("no compiled attention: %s", fault)
    if reason is None and begin is not None:
        recorded = _recorded(model, most_rows, begin)
        if recorded is not None:
            return ChosenDecoder(recorded, "slots, CUDA graphs")
    if reason is None and share:
        fault = _other_attention(model) or unsuited(model, lambda rows: SlotDecoder(model, rows, share=True))
        if fault is None:
            return ChosenDecoder(SlotDecoder(model, most_rows, share=True), "slots, prompts shared")
        log.warning("rows share no prompts: %s", fault)
    reason = reason or unsuited(model, lambda rows: SlotDecoder(model, rows, share=False))
    if reason is None:
        return ChosenDecoder(SlotDecoder(model, most_rows, share=False), "slots")
    log.warning("rows are decoded one by one: %s", reason)
    return ChosenDecoder(SeparateDecoder(model), "one by one")


def _sizes(model: Any) -> tuple[list[int], bool]:
    """The batch sizes for paged decoding, and whether a row gets the same bits in all of them."""
    for most in MOST_TOKENS:
        sizes, steady = steady_sizes(model, most)
        if steady and sizes[0] <= SMALL:
            break
    return sizes, steady


def _recorded(model: Any, rows: int, begin: Callable[[], Recorder]) -> SlotDecoder | None:
    """A slot decoder that replays recorded steps; None, with the reason logged, if recording fails."""
    graphs = Graphs(begin)

    def new_decoder(rows: int) -> SlotDecoder:
        return SlotDecoder(model, rows, share=False, step=graphs)

    fault = unsuited(model, lambda rows: new_decoder(2 * rows))  # twice the rows: the check includes padding rows
    graphs.forget()
    if fault is None and graphs.fault is None:
        return new_decoder(rows)
    if graphs.fault is None:
        log.warning("no CUDA graphs: %s", fault)
    return None


@torch.inference_mode()
def unsuited(model: Any, make: Callable[[int], Decoder]) -> str | None:
    """The reason why a decoder cannot serve the model; None if it can. `make` takes the number of rows."""
    try:
        changed = difference(model, make)
    except torch.OutOfMemoryError:
        raise
    except MODEL_FAULTS as error:
        return f"{type(model).__name__} fails with it: {type(error).__name__}: {error}"
    if not changed <= tolerance(model):
        return f"the logits of {type(model).__name__} change by {changed:.2g} of their norm"
    return None


def tolerance(model: Any) -> float:
    """The largest acceptable `difference` for a decoder of this model."""
    return _TOLERANCE.get(model.dtype, _TOLERANCE_16_BIT)


@torch.inference_mode()
def difference(model: Any, make: Callable[[int], Decoder]) -> float:
    """Relative error of a decoder's logits against plain decoding, as a share of their norm."""
    vocabulary = model.config.get_text_config().vocab_size
    short, long = (_some_prompt(vocabulary, length) for length in (5, 20))
    prompts = [short, long, short, short, long]  # the short prompt often enough to be shared
    logits = _logits(make(len(prompts)), prompts)
    expected = _logits(SeparateDecoder(model), prompts)
    return float((logits - expected).norm() / expected.norm())


@torch.inference_mode()
def _same_in_any_batch(model: Any, make: Callable[[int], Decoder], rows: int) -> bool:
    """Whether the whole model gives a row the same bits alone and in a batch of `rows`."""
    vocabulary = model.config.get_text_config().vocab_size
    prompt, other = (_some_prompt(vocabulary, length) for length in (20, 5))
    first = slice(0, 1)
    single, batched = (_logits(make(count), [prompt] + [other] * (count - 1), first) for count in (1, rows))
    return torch.equal(single, batched)


def _unsupported_layers(model: Any) -> str | None:
    unsupported = sorted(
        {type(layer).__name__ for layer in DynamicCache(config=model.config).layers if type(layer) is not DynamicLayer}
    )
    return f"its cache layers are not supported: {', '.join(unsupported)}" if unsupported else None


def _other_attention(model: Any) -> str | None:
    if model.config._attn_implementation != attention.BASE:
        return f"{type(model).__name__} uses {model.config._attn_implementation} attention"
    return None


def _logits(decoder: Decoder, prompts: list[Prompt], rows: slice = slice(None)) -> Tensor:
    """The decoder's logits for the prompts and a few tokens after them: [steps, rows, vocabulary], fp32."""
    for prompt in prompts:
        decoder.join(prompt, _STEPS)
    steps = [decoder.prefill()[rows].float()]
    for step in range(_STEPS):
        tokens = [prompt[(step + row) % len(prompt)] for row, prompt in enumerate(prompts)]
        steps.append(decoder.decode(tokens)[rows].float())
    return torch.stack(steps)


def _some_prompt(vocabulary: int, length: int) -> Prompt:
    return tuple((7 + 37 * length * place) % vocabulary for place in range(1, length + 1))


def _finds_best_scores(compiled: NativeKernels) -> bool:
    """Whether the compiled top-k agrees with torch on rows with ties and with a repetition penalty."""
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(3, 5000, generator=generator) * 4).round().to(compiled.dtype) / 2
    history = torch.randint(0, 5000, (3, 40), generator=generator)
    penalty = Penalty(history, torch.full((3,), 40, dtype=torch.int32), torch.tensor([1.0, 1.3, 0.7]))
    values, ids = Scores(logits, penalty, compiled).best(50)
    expected, expected_ids = Scores(logits, penalty).best(50)
    above = expected > expected[:, -1:]  # of scores tied for the last place, torch may take any
    return torch.equal(values, expected) and torch.equal(ids[above], expected_ids[above])
