"""A user's chat template and its arguments are tried before the first prompt."""

from typing import Any

import pytest

from swarmeval.engine.text import chat_template
from swarmeval.engine.text.tokens import PromptError, chat_ids
from swarmeval.errors import ConfigError
from swarmeval.requests import Message, Refusal, Request
from tests.support import tiny_model
from tests.support.tiny_engine import GREEDY, engine, finish

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
        (
            SWITCH, "{{ 1 / 0 }}", {},
            "chat_template: the model's chat template rejects the messages: division by zero",
        ),
        (
            SWITCH, "{{ '%c' % 1114112 }}", {},
            "chat_template: the model's chat template rejects the messages: %c arg not in range(0x110000)",
        ),
    ],
)  # fmt: skip
def test_a_template_or_argument_that_cannot_be_used_is_refused(
    own: str | None, template: str | None, arguments: dict[str, object], reason: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        chat_template.use(tiny_model.tokenizer(own), template, arguments)
    assert str(refused.value) == reason


@pytest.mark.parametrize("depth", [900, 5000])
def test_arguments_that_are_nested_too_deeply_refuse_one_request(depth: int) -> None:
    arguments: dict[str, object] = {}
    for _ in range(depth):
        arguments = {"a": arguments}
    made = engine(2, tokenizer=tiny_model.tokenizer("{{ a | tojson }}"))
    made.submit(Request("0/t/0/0", 0, GREEDY, messages=(Message("user", "x"),), template_kwargs=arguments))
    (refusal,) = finish(made)
    assert isinstance(refusal, Refusal)
    if depth == 5000:
        assert refusal.reason == "chat_template_kwargs is nested too deeply"
