"""Bodies of the API become requests for a replica, or are refused with the name of the field."""

import pytest

from swarmeval.requests import Thinking
from swarmeval.serving.errors import BadRequest
from swarmeval.serving.requests import ChatForm, CompletionForm, requests_of
from swarmeval.settings.prompt_rules import RESERVED
from swarmeval.settings.run_config import RunConfig

CONFIG = RunConfig(chat_template_kwargs={"think": True})
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
TEXT = {"model": "tiny", "prompt": "x"}
THINK = Thinking("<think>", "</think>")


@pytest.mark.parametrize("name", RESERVED)
def test_arguments_of_the_tokenizer_are_no_template_arguments(name: str) -> None:
    with pytest.raises(BadRequest) as refused:
        requests_of(ChatForm.model_validate({**CHAT, "chat_template_kwargs": {name: "pt"}}), CONFIG, "call")
    assert str(refused.value) == f"chat_template_kwargs.{name} is not an argument of a template"


def test_arguments_of_a_call_come_before_those_of_the_server() -> None:
    form = ChatForm.model_validate({**CHAT, "chat_template_kwargs": {"think": False, "tools": []}})
    (request,) = requests_of(form, CONFIG, "call")
    assert request.template_kwargs == {"think": False, "tools": []}


@pytest.mark.parametrize(("kind", "body"), [(ChatForm, CHAT), (CompletionForm, TEXT)])
def test_chats_and_completions_take_a_budget_for_thoughts(
    kind: type[ChatForm | CompletionForm], body: dict[str, object]
) -> None:
    """An endpoint fleet sends it in both modes, as vLLM takes it."""
    form = kind.model_validate({**body, "thinking_token_budget": 9})
    (request,) = requests_of(form, CONFIG, "call", THINK)
    assert request.thinking == Thinking("<think>", "</think>", 9)
    with pytest.raises(BadRequest) as refused:
        requests_of(form, CONFIG, "call")
    assert str(refused.value) == "this model has no known markers of thoughts"
