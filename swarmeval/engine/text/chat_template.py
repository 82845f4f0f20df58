"""Replaces a tokenizer's chat template with the user's, and checks the template's arguments."""

from collections.abc import Mapping
from typing import Any

from swarmeval.engine.text.tokens import PromptError, chat_ids
from swarmeval.errors import ConfigError


def use(tokenizer: Any, template: str | None, arguments: Mapping[str, Any]) -> None:
    """Set the template, unless it is None, and try it with its arguments. Raises ConfigError if it cannot be used."""
    if template is not None:
        tokenizer.chat_template = template
    if template is None and not arguments:
        return
    if not tokenizer.chat_template:
        raise ConfigError("chat_template_kwargs is set but the model has no chat template; remove it")
    text = tokenizer.get_chat_template()
    unknown = [name for name in arguments if name not in text and name not in ("tools", "documents")]
    if unknown:
        raise ConfigError(f"chat_template_kwargs.{unknown[0]}: the chat template does not use it; remove or correct it")
    try:
        chat_ids(tokenizer, [{"role": "user", "content": "Hello"}], template_kwargs=arguments)
    except PromptError as error:
        key = "chat_template_kwargs" if template is None else "chat_template"
        raise ConfigError(f"{key}: {error}") from error
