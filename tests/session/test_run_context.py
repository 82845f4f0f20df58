"""A replica whose prompts would not suit the tasks ends the run with one line."""

from typing import Any

import pytest
from msgspec import structs

from human_eval_runner import load_tasks
from swarmeval.errors import ConfigError
from swarmeval.records import Task
from swarmeval.requests import ReplicaInfo
from swarmeval.runs.plan import make_agents
from swarmeval.session.run_context import check_bias, check_chat_settings, check_mode
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import load
from swarmeval.workers.replica_spec import Script
from swarmeval.workers.scripted import ScriptedReplica


def gaps() -> tuple[Task, ...]:
    return load("humaneval_infilling_single_line").tasks[:2]


def info(**changes: Any) -> ReplicaInfo:
    return structs.replace(ScriptedReplica(Script(), "cpu", 0).info(), **changes)


def test_a_model_without_tokens_for_gaps_does_not_complete_them() -> None:
    unfit = info(fills_gaps=False)
    with pytest.raises(ConfigError) as refused:
        check_mode("completion", unfit, gaps())
    assert str(refused.value) == (
        "scripted has no fill-in-the-middle tokens, which this benchmark needs in completion mode; "
        "set prompt_mode: chat, or use a model that was trained to fill in the middle"
    )
    check_mode("chat", unfit, gaps())
    check_mode("completion", unfit, load_tasks(1))
    check_mode("completion", info(), gaps())


def test_a_bias_for_a_token_that_the_model_lacks_is_refused() -> None:
    def check(vocabulary: int | None) -> None:
        own = RunConfig.model_validate({"agents": ({"logit_bias": {49152: -1.0}},), "logit_bias": {7: 1.0}})
        check_bias(make_agents(own), own, info(vocabulary=vocabulary))

    check(None)
    check(49153)
    with pytest.raises(ConfigError) as refused:
        check(49152)
    assert str(refused.value) == "logit_bias names token 49152, but scripted has 49152 tokens"


def test_settings_of_chats_are_refused_for_a_model_that_completes() -> None:
    config = RunConfig(assistant_prefill="Sure")
    check_chat_settings("chat", config)
    with pytest.raises(ConfigError) as refused:
        check_chat_settings("completion", config)
    assert str(refused.value) == (
        f"assistant_prefill is set but {config.model_id} has no chat template; remove assistant_prefill"
    )


def test_a_model_without_a_chat_template_gets_no_chats() -> None:
    unfit = info(chat_template_sha256=None)
    with pytest.raises(ConfigError) as refused:
        check_mode("chat", unfit, load_tasks(1))
    assert str(refused.value) == "prompt_mode is 'chat' but scripted has no chat template; use completion or auto"
