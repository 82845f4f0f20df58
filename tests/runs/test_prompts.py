"""The request that a replica gets for an agent and a task."""

import pytest
from msgspec.structs import replace

from human_eval_runner import load_tasks
from swarmeval.engine.text.tokens import chat_ids, text_ids
from swarmeval.errors import ConfigError
from swarmeval.executed import Executed
from swarmeval.records import Attempt, Completion, Outcome, Suite, Task, Verdict
from swarmeval.requests import ReplicaInfo, Thinking
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import STOPS, TEMPLATE_TOKENS, example, make_request, most_prompt_tokens, thinking_of
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import load
from swarmeval.workers.replica_spec import Script
from swarmeval.workers.scripted import ScriptedReplica
from tests.support import tiny_model


@pytest.mark.parametrize(
    ("mode", "settings", "wanted"),
    [
        ("chat", {}, ()),
        ("completion", {}, STOPS),
        ("chat", {"stop": ("END", "\n#")}, ("END", "\n#")),
        ("completion", {"stop": ("END",)}, ("END",)),
        ("completion", {"stop": ()}, ()),
    ],
)
def test_replies_end_at_the_stops_of_the_mode_or_at_the_users(
    mode: str, settings: dict[str, object], wanted: tuple[str, ...]
) -> None:
    config = RunConfig.model_validate(settings)
    plan = Plan(make_agents(config), load_tasks(1))
    assert make_request(plan, 0, mode, config).sampling.stop == wanted


def gap_plan(config: RunConfig) -> Plan:
    return Plan(make_agents(config), load("humaneval_infilling_single_line").tasks)


def test_a_gap_is_asked_for_by_its_exact_prefix_and_suffix() -> None:
    config = RunConfig()
    plan = gap_plan(config)
    tasks = {task.task_id: task for task in plan.tasks}
    requests = {plan.task(k).task_id: make_request(plan, k, "completion", config) for k in range(plan.total)}
    assert {(tasks[name].prompt, tasks[name].ending, ()) for name in requests} == {
        (request.text, request.suffix, request.sampling.stop) for request in requests.values()
    }
    assert any(request.suffix == "" for request in requests.values())  # the gap is the last line
    assert make_request(Plan(make_agents(config), load_tasks(1)), 0, "completion", config).suffix is None


def test_users_stops_end_what_fills_a_gap_too() -> None:
    config = RunConfig(stop=("END",))
    assert make_request(gap_plan(config), 0, "completion", config).sampling.stop == ("END",)


def test_a_chat_model_is_asked_for_the_missing_part_in_words() -> None:
    config = RunConfig()
    plan = Plan(make_agents(config), load("humaneval_infilling_multi_line").tasks[:2])
    text = make_request(plan, plan.total - 1, "chat", config).messages[-1].content
    assert text.startswith("A part of the following Python program is missing. Write the missing part. Reply with")
    assert text.endswith(
        '    True\n    """\n```\n\nThe program after the missing part:\n```python\n'
        "            if idx != idx2:\n                distance = abs(elem - elem2)\n"
        "                if distance < threshold:\n                    return True\n\n    return False\n```"
    )


def test_prefill_and_arguments_of_the_template_go_with_chats_only() -> None:
    config = RunConfig(assistant_prefill="Sure: ", chat_template_kwargs={"enable_thinking": False})
    plan = Plan(make_agents(config), load_tasks(1))
    chat, raw = (make_request(plan, 0, mode, config) for mode in ("chat", "completion"))
    assert (chat.prefill, chat.template_kwargs) == ("Sure: ", {"enable_thinking": False})
    assert (raw.prefill, raw.template_kwargs) == ("", {})


@pytest.mark.parametrize("mode", ["chat", "completion"])
def test_a_server_is_tried_with_the_budget_for_thoughts(mode: str) -> None:
    """A server without a reasoning parser rejects it."""
    asked = example(RunConfig.model_validate({"thinking": {"budget_tokens": 9}}), mode)
    assert asked.thinking is not None
    assert asked.thinking.budget_tokens == 9


def test_the_runs_system_prompt_is_for_agents_without_their_own() -> None:
    own = {"agents": ({"name": "a"}, {"name": "b", "system_prompt": "B"}, {"name": "c", "system_prompt": ""})}
    config = RunConfig.model_validate({**own, "system_prompt": "A"})
    plan = Plan(make_agents(config), load_tasks(1))
    first = [make_request(plan, k, "chat", config).messages[0] for k in range(3)]
    assert [(message.role, message.content[:1]) for message in first] == [
        ("system", "A"),
        ("system", "B"),
        ("user", "C"),
    ]
    assert [agent.system_prompt for agent in make_agents(RunConfig(system_prompt="A", num_agents=2))] == ["A", "A"]


def test_sampling_settings_are_the_agents_or_else_the_runs() -> None:
    own = {"name": "b", "min_p": 0.2, "presence_penalty": 1.0, "frequency_penalty": 0.5, "logit_bias": {7: -1.0}}
    config = RunConfig.model_validate({"agents": ({"name": "a"}, own), "min_p": 0.1, "logit_bias": {9: 2.0}})
    plan = Plan(make_agents(config), load_tasks(1))
    first, second = (make_request(plan, k, "chat", config).sampling for k in range(2))
    assert (first.min_p, first.presence_penalty, first.logit_bias) == (0.1, 0.0, ((9, 2.0),))
    assert (second.min_p, second.presence_penalty, second.frequency_penalty) == (0.2, 1.0, 0.5)
    assert second.logit_bias == ((7, -1.0),)


def test_markers_of_thoughts_come_from_the_settings_or_from_the_model() -> None:
    info = replace(ScriptedReplica(Script(), "cpu", 0).info(), thinking=Thinking("<t>", "</t>"))

    def found(info: ReplicaInfo, **thinking: object) -> Thinking | None:
        return thinking_of(RunConfig.model_validate({"thinking": thinking}), info)

    assert found(info, budget_tokens=9) == Thinking("<t>", "</t>", 9)
    assert found(info, start="<think>") == Thinking("<think>", "</think>")
    assert found(info, start="<a>", end="<b>") == Thinking("<a>", "<b>")
    assert found(info, start="off") is None
    assert found(replace(info, thinking=None)) is None
    with pytest.raises(ConfigError) as refused:
        found(replace(info, thinking=None), budget_tokens=9)
    assert str(refused.value) == (
        "thinking.budget_tokens is set but scripted has no known markers of thoughts; "
        "set thinking.start and thinking.end"
    )


@pytest.mark.parametrize("system", [None, "Think first. Répondez en français. 考えてから答えてください。" * 20])
def test_no_prompt_has_more_tokens_than_the_bound(system: str | None) -> None:
    """With a tokenizer that knows single bytes only, no text has more tokens."""
    agents = ({"name": "a"}, {"name": "b", "system_prompt": system})
    config = RunConfig.model_validate({"agents": agents, "num_samples": 1})
    plan = Plan(make_agents(config), load_tasks())
    bound, tokenizer = most_prompt_tokens(plan), tiny_model.tokenizer()
    assert bound is not None
    longest = 0
    for k in range(plan.total):
        chat, raw = (make_request(plan, k, mode, config) for mode in ("chat", "completion"))
        messages = [{"role": message.role, "content": message.content} for message in chat.messages]
        longest = max(longest, len(chat_ids(tokenizer, messages)), len(text_ids(tokenizer, raw.text or "")))
    assert longest <= bound < longest + 1.1 * TEMPLATE_TOKENS


def test_prompts_of_repairs_have_no_bound() -> None:
    config = RunConfig(max_repairs=1)
    assert most_prompt_tokens(Plan(make_agents(config), load_tasks())) is None


FAILED = Verdict("0/T/0/0", Outcome.WRONG_ANSWER, "    return 1\n")
AGAIN = "It ran and gave a wrong answer in at least one of the hidden tests."


@pytest.mark.parametrize(
    ("task", "wanted"),
    [
        (Task("T", "def f():\n", Suite("f", "")),
         "the whole corrected function, imports included, in one Python code block"),
        (Task("T", "", Suite("", ""), "Sum.", executed=Executed("go"), answer="program"),
         "the whole corrected program in one Go code block"),
        (Task("T", "", Suite("f", ""), "Find it.", answer="expression"), "a corrected answer in the same form"),
    ],
)  # fmt: skip
def test_a_repair_asks_for_the_kind_of_code_that_the_task_wants(task: Task, wanted: str) -> None:
    config = RunConfig(max_repairs=1)
    failed = Attempt(Completion("0/T/0/0", "a reply"), FAILED)
    request = make_request(Plan(make_agents(config), [task]), 0, "chat", config, failed)
    assert request.messages[-1].content == (
        f"This solution is not right. {AGAIN}\n\nFind the fault and reply with {wanted}."
    )


def test_a_repair_in_completion_mode_comments_in_the_language() -> None:
    config = RunConfig(max_repairs=1)
    task = Task("T", "local function f()\n", Suite("f", ""), executed=Executed("lua"))
    failed = Attempt(Completion("0/T/0/0", ""), replace(FAILED, code=f"{task.prompt}    return 1\n"))
    request = make_request(Plan(make_agents(config), [task]), 0, "completion", config, failed)
    assert request.text == (
        f"local function f()\n    return 1\n\n\n-- The code above is wrong. {AGAIN}\n-- Corrected:\n\n"
        "local function f()"
    )
