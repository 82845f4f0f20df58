"""Settings of prompts that contradict each other or cannot be obeyed are refused with the remedy."""

import pytest
from pydantic import ValidationError

from swarmeval.settings.run_config import RunConfig

SERVER = {"fleet": "endpoint", "endpoint": {"urls": ("http://localhost:8000/v1",), "dialect": "openai"}}
PLAIN = {"top_k": 0, "repetition_penalty": 1.0}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"prompt_mode": "completion", "assistant_prefill": "Sure"},
            "assistant_prefill is set but prompt_mode is 'completion', which uses no chat template; "
            "remove assistant_prefill",
        ),
        (
            {"chat_template_kwargs": {"tokenize": False}},
            "chat_template_kwargs.tokenize cannot be set: it is not an argument of a template; remove it",
        ),
        (
            {"chat_template_kwargs": {"x": float("nan")}},
            "chat_template_kwargs contains a value that JSON cannot represent; remove it",
        ),
        (
            {"thinking": {"end": "</x>"}},
            "thinking.end is set but thinking.start is 'auto'; set thinking.start as well",
        ),
        (
            {"thinking": {"start": "<musing>"}},
            "thinking.start is '<musing>', which no known family uses; set thinking.end as well",
        ),
        (
            {"thinking": {"start": "off", "budget_tokens": 9}},
            "thinking.budget_tokens is set but thinking.start is 'off'; remove one of them",
        ),
        (
            {"thinking": {"budget_tokens": 512}},
            "thinking.budget_tokens is 512 and max_new_tokens is 512, which leaves no tokens for the answer; "
            "raise max_new_tokens",
        ),
        (
            {"thinking": {"budget_tokens": 9}, "num_beams": 2, "do_sample": False},
            "thinking.budget_tokens does not go with beam search; set num_beams: 1",
        ),
        (
            {**SERVER, **PLAIN, "chat_template_kwargs": {"enable_thinking": False}},
            "endpoint.dialect: openai has no field for chat_template_kwargs; remove it, or use endpoint.body",
        ),
        (
            {**SERVER, **PLAIN, "thinking": {"budget_tokens": 9}},
            "endpoint.dialect: openai has no field for thinking.budget_tokens; remove it, or use endpoint.body",
        ),
    ],
)
def test_what_cannot_be_obeyed_is_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        RunConfig.model_validate(settings)
    assert refused.value.errors()[0]["msg"] == f"Value error, {reason}"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {**SERVER, **PLAIN, "agents": ({"min_p": 0.1},)},
            "endpoint.dialect: openai has no field for min_p; set min_p: 0",
        ),
        (
            {"num_beams": 2, "do_sample": False, "logit_bias": {"7": 1.0}},
            "logit_bias does not go with beam search; set num_beams: 1",
        ),
        (
            {"num_beams": 2, "do_sample": False, "agents": ({"presence_penalty": 1.0},)},
            "presence_penalty does not go with beam search; set num_beams: 1",
        ),
    ],
)
def test_further_sampling_settings_are_refused_where_they_cannot_be_obeyed(
    settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        RunConfig.model_validate(settings)
    assert refused.value.errors()[0]["msg"] == f"Value error, {reason}"


def test_a_logit_bias_survives_the_manifest() -> None:
    config = RunConfig.model_validate({"logit_bias": {7: -1, "12": 2.5}})
    assert config.logit_bias == {7: -1.0, 12: 2.5}
    assert RunConfig.model_validate(config.model_dump(mode="json", include={"logit_bias"})) == config


def test_what_goes_together_is_accepted() -> None:
    thinking = {"start": "<think>", "budget_tokens": 100}
    config = RunConfig.model_validate({"thinking": thinking, "chat_template_kwargs": {"enable_thinking": True}})
    assert config.measured()["thinking.budget_tokens"] == 100
    assert config.measured()["chat_template_kwargs"] == {"enable_thinking": True}
