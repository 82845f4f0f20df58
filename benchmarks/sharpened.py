"""A tiny random model whose scores are sharpened until its samples agree as much as those of real models."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from swarmeval.engine import budget, decoder_choice
from swarmeval.engine.engine import Engine
from swarmeval.engine.kernels import choice
from swarmeval.engine.weights import cpu_weights, fused
from swarmeval.requests import ReplicaInfo

REAL_SHARING = 4.5  # delivered / computed tokens of ten samples of CodeLlama-34B-Instruct, GPT-3.5 and GPT-4


class Sharpened(torch.nn.Module):
    """A head whose scores are multiplied by a factor."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.factor = inner, 1.0

    def forward(self, hidden: Tensor) -> Tensor:
        scores: Tensor = self.inner(hidden) * self.factor
        return scores


def random_engine(rows: int | None, max_new_tokens: int, tokenizer: Any) -> tuple[Engine, Sharpened]:
    """An engine with a small random model over the tokenizer's vocabulary, which never ends its text.

    Its weights are prepared like those of a loaded replica (see workers.replica).
    """
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=192, intermediate_size=512, num_hidden_layers=4, num_attention_heads=3,
        num_key_value_heads=1, max_position_embeddings=4096, initializer_range=0.2, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.lm_head = head = Sharpened(model.lm_head)
    kernels = choice.native_kernels(model.dtype)
    if kernels is not None:
        fused.fuse(model, kernels)
    cpu_weights.prepack(model)
    needs = budget.estimate(
        config, model.dtype, device="cpu", rows=rows, max_new_tokens=max_new_tokens, weight_bytes=0, share=1
    )
    fit = decoder_choice.fitted(model, needs, kernels)
    info = ReplicaInfo(
        "hf", "random", "cpu", needs.rows, needs.context_tokens, None, "fp32", "fp32", 0, 0, steady=fit.steady
    )
    made = Engine(model, tokenizer, fit.decoder, info, kernels)
    made.outbox.eos = frozenset()
    return made, head


def sharpen(head: Sharpened, sharing: Callable[[], float]) -> float:
    """Find the factor at which `sharing`, measured on ten samples, is that of real models; return what it is then."""
    low, high, found = 0.1, 100.0, 0.0
    for _ in range(12):
        head.factor = (low * high) ** 0.5
        found = sharing()
        low, high = (head.factor, high) if found < REAL_SHARING else (low, head.factor)
    return found
