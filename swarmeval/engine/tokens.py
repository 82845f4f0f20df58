"""Text to token ids and back, with the model's own tokenizer and chat template."""

from collections.abc import Mapping, Sequence
from typing import Any

_LEAD = 8  # prompt tokens decoded before the output, so that its first token keeps a leading space


class PromptError(ValueError):
    """The text cannot be given to this model; str() says why."""


def chat_ids(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
    """The ids of a chat up to where the model answers. The template writes the special tokens, once.

    Raises PromptError when there is no template, or it rejects these messages.
    """
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise PromptError("the model has no chat template; set prompt_mode: completion")
    try:
        encoded = tokenizer.apply_chat_template(
            list(messages), tokenize=True, add_generation_prompt=True, return_dict=True
        )
    except TemplateError as error:
        raise PromptError(f"the model's chat template rejects the messages: {error}") from error
    return tuple(encoded["input_ids"])


def text_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    """The ids of raw text, with the special tokens that the tokenizer adds by itself (a BOS, or none)."""
    return tuple(tokenizer(text)["input_ids"])


class Detokenizer:
    """The output tokens of one prompt as text; special tokens are left out."""

    def __init__(self, tokenizer: Any, prompt: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._lead = list(prompt[-_LEAD:])

    def text(self, output: Sequence[int]) -> str:
        """All of the output. Some tokenizers drop a leading space, so a piece of the prompt goes before it."""
        head = self._decode(self._lead)
        whole = self._decode([*self._lead, *output])
        return whole[len(head) :] if whole.startswith(head) else self._decode(output)

    def tail(self, output: Sequence[int], count: int) -> str:
        """About the last `count` tokens, which may begin in the prompt: cheap, to look whether a closer look pays."""
        tail = list(output[-count:])
        if len(tail) < count:
            tail = [*self._lead, *tail]
        return self._decode(tail)

    def part(self, output: Sequence[int], first: int) -> str:
        """The text of the output from token `first` on, behind what leads into it."""
        return self._decode(output[first:] if first else [*self._lead, *output])

    def _decode(self, ids: Sequence[int]) -> str:
        # Cleaning up spaces is for prose: it changes code.
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
