"""Rules for settings that shape prompts: chat template, prefill and thinking."""

import json
from collections.abc import Iterator

from swarmeval.settings.run_keys import RunKeys
from swarmeval.thinking import end_of

# Arguments that the tokenizer's apply_chat_template takes for itself, or that Swarmeval sets.
RESERVED = (
    "add_generation_prompt", "chat_template", "continue_final_message", "conversation", "messages", "padding",
    "return_assistant_tokens_mask", "return_dict", "return_tensors", "sanitize_control_tokens", "tokenize",
    "tokenizer_kwargs", "truncation", "max_length",
)  # fmt: skip
CHAT = ("chat_template", "chat_template_kwargs", "assistant_prefill")


def faults(config: RunKeys) -> Iterator[str]:
    """The settings that contradict each other or cannot be obeyed, one message each."""
    if config.prompt_mode == "completion":
        for key in CHAT:
            if not config.is_default(key):
                yield f"{key} is set but prompt_mode is 'completion', which uses no chat template; remove {key}"
    yield from _of_arguments(config)
    yield from _of_thinking(config)
    if config.fleet == "endpoint":
        yield from _of_dialect(config)


def _of_arguments(config: RunKeys) -> Iterator[str]:
    for name in config.chat_template_kwargs:
        if name in RESERVED:
            yield f"chat_template_kwargs.{name} cannot be set: it is not an argument of a template; remove it"
    try:
        json.dumps(config.chat_template_kwargs, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        yield "chat_template_kwargs contains a value that JSON cannot represent; remove it"


def _of_thinking(config: RunKeys) -> Iterator[str]:
    start, end, budget = config.thinking.start, config.thinking.end, config.thinking.budget_tokens
    if start in ("auto", "off") and end != "auto":
        yield f"thinking.end is set but thinking.start is {start!r}; set thinking.start as well"
    if start not in ("auto", "off") and end == "auto" and end_of(start) is None:
        yield f"thinking.start is {start!r}, which no known family uses; set thinking.end as well"
    if budget is None:
        return
    if start == "off":
        yield "thinking.budget_tokens is set but thinking.start is 'off'; remove one of them"
    if budget >= config.max_new_tokens:
        yield (
            f"thinking.budget_tokens is {budget} and max_new_tokens is {config.max_new_tokens}, which leaves no tokens "
            "for the answer; raise max_new_tokens"
        )
    if config.num_beams > 1:
        yield "thinking.budget_tokens does not go with beam search; set num_beams: 1"


def _of_dialect(config: RunKeys) -> Iterator[str]:
    """Settings that the servers' dialect has no request field for."""
    dialect = config.endpoint.dialect
    fields = {
        "chat_template": ("vllm",),
        "chat_template_kwargs": ("vllm", "llama.cpp"),
        "assistant_prefill": ("vllm", "llama.cpp"),
        "thinking.budget_tokens": ("vllm",),
    }
    for key, dialects in fields.items():
        if not config.is_default(key) and dialect not in dialects:
            yield f"endpoint.dialect: {dialect} has no field for {key}; remove it, or use endpoint.body"
