"""Random models of a few thousand weights (Llama and other families) and a byte-level tokenizer, quick to make.

Every byte is a token, so any text can be encoded and any output decoded. Two merges let stop strings span tokens.
"""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from swarmeval.engine.budget import Budget, token_bytes

CONTEXT_TOKENS = 512
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)

# Families with full causal attention in all layers, each with the options that vary within it.
FULL_ATTENTION: list[tuple[str, dict[str, Any]]] = [
    ("Llama", {"num_key_value_heads": 4}),
    ("Llama", {"num_key_value_heads": 1}),
    ("Qwen2", {}),
    ("Qwen3", {"head_dim": 32}),
    ("Mistral", {"sliding_window": None}),
    ("Gemma", {"head_dim": 32}),
    ("Phi", {}),
    ("Phi3", {}),
    ("Starcoder2", {"sliding_window": None}),
    ("Mixtral", {"num_local_experts": 4}),
]
YARN = {"rope_type": "yarn", "rope_theta": 150_000.0, "factor": 32.0, "original_max_position_embeddings": 16}
EXPERTS_AND_SINKS = {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 32, "rope_parameters": YARN}
# Every second layer of these attends within a window, and each head to a sink, in transformers' own code only.
GPT_OSS: list[tuple[str, dict[str, Any]]] = [
    ("GptOss", EXPERTS_AND_SINKS | {"sliding_window": 32}),  # shorter than most rows
    ("GptOss", EXPERTS_AND_SINKS | {"sliding_window": CONTEXT_TOKENS}),
]


def tokenizer(template: str | None = TEMPLATE) -> Any:
    """A byte-level tokenizer with the special tokens <bos>, <eos> and <turn>. It adds <bos> to raw text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {token: index for index, token in enumerate(["<bos>", "<eos>", "<turn>", *letters, "de", "def"])}
    inner = Tokenizer(BPE(vocab=words, merges=[("d", "e"), ("de", "f")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    from tokenizers.processors import TemplateProcessing

    inner.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<bos>",
        eos_token="<eos>",
        additional_special_tokens=["<turn>"],
        model_max_length=CONTEXT_TOKENS,
    )
    made.chat_template = template
    return made


def model(seed: int = 0, context_tokens: int = CONTEXT_TOKENS, **changes: Any) -> Any:
    """A random Llama in fp32 with grouped heads; its eos ids are <eos> and <turn>."""
    torch.manual_seed(seed)
    settings = {
        "vocab_size": 288,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context_tokens,
        "bos_token_id": 0,
        "eos_token_id": [1, 2],
        "initializer_range": 0.2,  # logits far enough apart that greedy choices are never tied
    }
    return LlamaForCausalLM(LlamaConfig(**(settings | changes))).eval()


def family(name: str, **changes: Any) -> Any:
    """A random fp32 model of a family."""
    torch.manual_seed(1)
    sizes = {
        "vocab_size": 288, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "eos_token_id": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT_TOKENS,
        "initializer_range": 0.2, "pad_token_id": 0,
    }  # fmt: skip
    config = getattr(transformers, f"{name}Config")(**(sizes | changes))
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


def save(folder: Path, seed: int = 0) -> Path:
    """Write model and tokenizer to a folder that model_loader can load."""
    model(seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def budget(model: Any, rows: int) -> Budget:
    """A memory budget for `rows` rows of the model's whole context."""
    tokens = model.config.max_position_embeddings
    return Budget(rows, tokens, tokens, token_bytes(model.config, model.dtype), weight_bytes=0)
