"""A user's chat template and its arguments are tried before the first prompt."""

from typing import Any

import pytest

from swarmeval.engine.text import chat_template
from swarmeval.engine.tokens import PromptError, chat_ids
from swarmeval.errors import ConfigError
from tests.support import tiny_model

CHAT = [{"role": "user", "content": "hi"}]
SWITCH = "{% for message in messages %}{{ message['content'] }}{% endfor %}{% if think %}<think>{% endif %}"


def prompt(tokenizer: Any, prefill: str = "", **arguments: object) -> str:
    return str(tokenizer.decode(chat_ids(tokenizer, CHAT, prefill, arguments)))


def test_prompts_are_made_with_the_users_template_and_its_arguments() -> None:
    tokenizer = tiny_model.tokenizer()
    chat_template.use(tokenizer, SWITCH, {"think": True})
    assert (prompt(tokenizer, think=True), prompt(tokenizer, think=False)) == ("hi<think>", "hi")


def test_a_prefill_ends_the_prompt_within_the_assistants_message() -> None:
    assert prompt(tiny_model.tokenizer()) == "<bos><user>hi\n<assistant>"
    assert prompt(tiny_model.tokenizer(), "Sure: ```python\n") == "<bos><user>hi\n<assistant>Sure: ```python\n"


def test_a_prefill_that_the_template_drops_is_refused() -> None:
    with pytest.raises(PromptError, match=r"^the model's chat template rejects the messages: "):
        chat_ids(tiny_model.tokenizer("{{ messages[0]['content'] }}"), CHAT, "Sure")


@pytest.mark.parametrize(
    ("own", "template", "arguments", "reason"),
    [
        (
            SWITCH, None, {"thinks": True},
            "chat_template_kwargs.thinks: the chat template does not use it; remove or correct it",
        ),
        (None, None, {"think": True}, "chat_template_kwargs is set but the model has no chat template; remove it"),
        (
            SWITCH, "{{ raise_exception('no users') }}", {},
            "chat_template: the model's chat template rejects the messages: no users",
        ),
        (
            "{% if think > 1 %}{% endif %}", None, {"think": "a"},
            "chat_template_kwargs: the model's chat template rejects the messages: "
            "'>' not supported between instances of 'str' and 'int'",
        ),
    ],
)  # fmt: skip
def test_a_template_or_argument_that_cannot_be_used_is_refused(
    own: str | None, template: str | None, arguments: dict[str, object], reason: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        chat_template.use(tiny_model.tokenizer(own), template, arguments)
    assert str(refused.value) == reason
