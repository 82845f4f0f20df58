"""Prompts for the middle between a prefix and a suffix, with the special tokens that a model was trained with (FIM).

A model is recognised by its tokenizer's special tokens. Some models have them without having been trained to use them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from swarmeval.engine.text.tokens import NO_ARGUMENTS, PromptError, chat_ids, text_ids
from swarmeval.requests import Message


@dataclass(frozen=True, slots=True)
class Markers:
    """Special tokens that precede the parts of a prompt. If `middle` is empty, the suffix comes before the prefix."""

    prefix: str
    suffix: str
    middle: str = ""


# Each with its source.
MARKERS = (
    # Qwen2.5-Coder, Qwen3-Coder (their README); CodeGemma (ai.google.dev/gemma/docs/codegemma/prompt-structure)
    Markers("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    # StarCoder and StarCoder2 (bigcode-evaluation-harness, tasks/santacoder_fim.py), StableCode, Granite Code
    Markers("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    Markers("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder (the same file)
    Markers("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek-Coder (its README, "Code Insertion")
    Markers("▁<PRE>", "▁<SUF>", "▁<MID>"),  # CodeLlama (codellama, llama/generation.py, infilling_prompt_tokens)
    Markers("[PREFIX]", "[SUFFIX]"),  # Codestral (mistral-common, encode_fim)
)
# Special tokens that end a middle, besides the model's own end-of-text tokens and those that begin a prefix or suffix:
# "<|endoftext|>" to "<|file_sep|>" as in Qwen2.5-Coder's example, the others as in the sources above.
ENDS = (
    "<|endoftext|>", "<|im_end|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|file_separator|>",
    "<fim_pad>", "<fim-pad>", "<file_sep>", "<repo_name>", "<filename>", "<reponame>", "<|filename|>", "▁<EOT>",
)  # fmt: skip
_MARK = "☺"


def fills_gaps(tokenizer: Any) -> bool:
    """Whether the tokenizer has the special tokens of a known model."""
    return _markers(tokenizer.get_added_vocab()) is not None


def gap_ids(tokenizer: Any, prefix: str, suffix: str) -> tuple[int, ...]:
    """Token ids of the prompt for the text between prefix and suffix, after the BOS token that the tokenizer adds.

    Raises PromptError if the model has no special tokens for it.
    """
    special = tokenizer.get_added_vocab()
    markers = _markers(special)
    if markers is None:
        raise PromptError("the model has no fill-in-the-middle tokens, so it cannot take a suffix")
    before = [special[markers.prefix], *_plain_ids(tokenizer, prefix)]
    after = [special[markers.suffix], *_inner_ids(tokenizer, suffix)]
    parts = [*before, *after, special[markers.middle]] if markers.middle else [*after, *before]
    return (*tokenizer("")["input_ids"], *parts)


def prompt_ids(
    tokenizer: Any,
    text: str | None,
    suffix: str | None,
    messages: Sequence[Message] = (),
    prefill: str = "",
    template_kwargs: Mapping[str, Any] = NO_ARGUMENTS,
) -> tuple[int, ...]:
    """Token ids of the prompt of a Request. Raises PromptError."""
    if text is None:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        return chat_ids(tokenizer, chat, prefill, template_kwargs)
    return text_ids(tokenizer, text) if suffix is None else gap_ids(tokenizer, text, suffix)


def end_ids(tokenizer: Any, prompt: tuple[int, ...]) -> frozenset[int]:
    """The special tokens that end the answer to a prompt with a gap; none for other prompts."""
    special = tokenizer.get_added_vocab()
    markers = _markers(special)
    if markers is None or special[markers.suffix] not in prompt:
        return frozenset()
    return frozenset(special[token] for token in (markers.prefix, markers.suffix, *ENDS) if token in special)


def _markers(special: dict[str, int]) -> Markers | None:
    def known(markers: Markers) -> bool:
        return all(token in special for token in (markers.prefix, markers.suffix, markers.middle) if token)

    return next(filter(known, MARKERS), None)


def _plain_ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _inner_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text inside a prompt, without the space that SentencePiece puts before a text.

    Models that add it were trained with suffixes that lack it (CodeLlama, encode_infilling).
    """
    mark, marked = _plain_ids(tokenizer, _MARK), _plain_ids(tokenizer, _MARK + text)
    adds_space = tokenizer.convert_ids_to_tokens(mark[:1])[0].startswith("▁")
    return marked[len(mark) :] if adds_space and marked[: len(mark)] == mark else _plain_ids(tokenizer, text)
