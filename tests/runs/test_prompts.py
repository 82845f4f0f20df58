"""The request that a replica gets for an agent and a task."""

import pytest

from human_eval_runner import load_tasks
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.prompts import STOPS, make_request
from swarmeval.settings.run_config import RunConfig


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
