"""Which decoder a model gets: slots that share prompts, slots that do not, or separate rows.

The first that gives the logits of plain decoding is taken; what was not is logged with its reason.
"""

import logging
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from workers import attention
from workers.prefill import Prompt
from workers.separate import SeparateDecoder
from workers.slots import SlotDecoder

_STEPS = 3
# Share of the logits' norm by which slots may differ. Rounding of a deep model in 16 bits reaches about 0.02;
# a wrong mask or position costs more than half.
_TOLERANCE = {torch.float32: 1e-3}
_TOLERANCE_16_BIT = 0.1

log = logging.getLogger("swarmeval")


def decoder(model: Any, rows: int) -> SlotDecoder | SeparateDecoder:
    """A decoder of this model with room for so many rows."""
    reason = unsuited(model, share=False)
    if reason is not None:
        log.warning("rows are decoded one by one: %s", reason)
        return SeparateDecoder(model)
    reason = unsuited(model, share=True)
    if reason is not None:
        log.warning("rows share no prompts: %s", reason)
    return SlotDecoder(model, rows, share=reason is None)


@torch.inference_mode()
def unsuited(model: Any, share: bool) -> str | None:
    """Why slots cannot serve the model; None when they can."""
    layers = DynamicCache(config=model.config).layers
    odd = sorted({type(layer).__name__ for layer in layers if type(layer) is not DynamicLayer})
    if odd:
        return f"slots cannot stand in for its {', '.join(odd)}"
    if share and model.config._attn_implementation != attention.BASE:
        return f"{type(model).__name__} uses {model.config._attn_implementation} attention"
    vocabulary = model.config.get_text_config().vocab_size
    short, long = (_some_prompt(vocabulary, length) for length in (5, 12))
    prompts = [short, long, short, short, long]  # the first shared, the second kept in slots
    try:
        found = _logits(SlotDecoder(model, len(prompts), share), prompts)
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        return f"slots do not work with {type(model).__name__}: {type(error).__name__}: {error}"
    wanted = _logits(SeparateDecoder(model), prompts)
    difference = float((found - wanted).norm() / wanted.norm())
    if not difference <= _TOLERANCE.get(model.dtype, _TOLERANCE_16_BIT):
        return f"slots change the logits of {type(model).__name__} by {difference:.2g} of their norm"
    return None


def _logits(decoder: SlotDecoder | SeparateDecoder, prompts: list[Prompt]) -> Tensor:
    """What the decoder says to a few tokens after prompts of different lengths: [steps, prompts, vocabulary]."""
    steps = [decoder.admit(prompts)]
    for step in range(_STEPS):
        steps.append(decoder.decode([prompt[(step + row) % len(prompt)] for row, prompt in enumerate(prompts)]))
    return torch.stack(steps)


def _some_prompt(vocabulary: int, length: int) -> Prompt:
    return tuple((7 + 37 * length * place) % vocabulary for place in range(1, length + 1))
