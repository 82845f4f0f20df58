"""Conversion between text and token ids with the model's tokenizer and chat template."""

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any

NO_ARGUMENTS: Mapping[str, Any] = {}
# What the Python code of a template raises, besides jinja2's own errors.
_TEMPLATE_FAULTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_LEAD = 8  # prompt tokens decoded before the output, so that its first token keeps a leading space


class PromptError(ValueError):
    """The model cannot take this prompt; str() gives the reason."""


def chat_ids(
    tokenizer: Any,
    messages: Sequence[Mapping[str, str]],
    prefill: str = "",
    template_kwargs: Mapping[str, Any] = NO_ARGUMENTS,
) -> tuple[int, ...]:
    """Token ids of a chat, up to and including the generation prompt. The template adds the special tokens.

    With `prefill`, the chat ends within the assistant's message, after this text. Raises PromptError if the model has
    no template or the template rejects the messages.
    """
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise PromptError("the model has no chat template; set prompt_mode: completion")
    chat = [*messages, {"role": "assistant", "content": prefill}] if prefill else list(messages)
    try:
        encoded = tokenizer.apply_chat_template(
            chat,
            tokenize=True,
            add_generation_prompt=not prefill,
            continue_final_message=bool(prefill),
            return_dict=True,
            **template_kwargs,
        )
    except (TemplateError, *_TEMPLATE_FAULTS) as error:
        raise PromptError(f"the model's chat template rejects the messages: {error}") from error
    return tuple(encoded["input_ids"])


def text_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Token ids of raw text, including the special tokens that the tokenizer adds itself (a BOS or none)."""
    return tuple(tokenizer(text)["input_ids"])


Marks = tuple[tuple[int, int], ...]  # (tokens, characters of a text that they complete)


class Detokenizer:
    """Decodes the output tokens of one prompt to text, without special tokens unless `special`."""

    def __init__(self, tokenizer: Any, prompt: Sequence[int], special: bool = False) -> None:
        self._tokenizer = tokenizer
        self._lead = list(prompt[-_LEAD:])
        self._skips = not special

    def text(self, output: Sequence[int]) -> str:
        """Decode the whole output. The end of the prompt is decoded with it: some tokenizers drop a leading space."""
        head = self._decode(self._lead)
        whole = self._decode([*self._lead, *output])
        return whole[len(head) :] if whole.startswith(head) else self._decode(output)

    def tail(self, output: Sequence[int], count: int) -> str:
        """Decode about the last `count` tokens, possibly including some of the prompt. A cheap first test."""
        tail = list(output[-count:])
        if len(tail) < count:
            tail = [*self._lead, *tail]
        return self._decode(tail)

    def part(self, output: Sequence[int], first: int) -> str:
        """Decode the output from token `first` on; from token 0, with the end of the prompt before it."""
        return self._decode(output[first:] if first else [*self._lead, *output])

    def _decode(self, ids: Sequence[int]) -> str:
        # clean_up_tokenization_spaces is meant for prose and would change code.
        text: str = self._tokenizer.decode(ids, skip_special_tokens=self._skips, clean_up_tokenization_spaces=False)
        return text


def marks(output: Sequence[int], text_of: Callable[[Sequence[int]], str]) -> Marks:
    """(tokens, characters of the reply's text that they complete) at each power of 2 below the length of the output.

    `text_of` gives the text of a reply with this output. A character whose bytes are spread over several tokens counts
    once the last of them is there.
    """
    whole, powers = text_of(output), (1 << k for k in range(max(0, len(output) - 1).bit_length()))
    return tuple((tokens, _common(whole, text_of(output[:tokens]))) for tokens in powers)


def _common(one: str, other: str) -> int:
    """The number of characters that two texts begin with in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
