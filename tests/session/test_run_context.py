"""A replica whose prompts would not suit the tasks ends the run with one line."""

from typing import Any

import pytest
from msgspec import structs

from human_eval_runner import load_tasks
from swarmeval.errors import ConfigError
from swarmeval.records import Task
from swarmeval.requests import ReplicaInfo
from swarmeval.session.run_context import check_mode
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


def test_a_model_without_a_chat_template_gets_no_chats() -> None:
    unfit = info(chat_template_sha256=None)
    with pytest.raises(ConfigError) as refused:
        check_mode("chat", unfit, load_tasks(1))
    assert str(refused.value) == "prompt_mode is 'chat' but scripted has no chat template; use completion or auto"
