"""Beam search for one prompt, by a single blocking call of transformers' `generate`."""

from collections.abc import Collection, Sequence
from typing import Any

import torch


def search(
    model: Any, prompt: Sequence[int], beams: int, max_new_tokens: int, repetition_penalty: float, eos: Collection[int]
) -> list[int]:
    """The tokens of the best beam, including its end-of-text token if it has one."""
    from transformers import GenerationConfig

    ids = torch.tensor([prompt], device=model.device)
    config = GenerationConfig(
        num_beams=beams,
        do_sample=False,
        max_new_tokens=max_new_tokens,
        repetition_penalty=repetition_penalty,
        eos_token_id=sorted(eos) or None,
        pad_token_id=min(eos, default=0),
        temperature=1.0,
        top_p=1.0,
        top_k=50,
    )
    result = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    output: list[int] = result[0, len(prompt) :].tolist()
    return output
