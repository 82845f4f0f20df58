"""Agents with the same name form a profile: they are scored together and compared with other profiles."""

from pathlib import Path

from swarmeval.records import Agent, Job
from swarmeval.runs.plan import make_agents
from swarmeval.scores.intervals import wilson
from swarmeval.scores.profiles import Profiles
from swarmeval.scores.unions import union
from swarmeval.session.summary import summary
from swarmeval.settings.agents import AgentSettings
from swarmeval.settings.run_config import RunConfig


def test_profiles_are_scored_and_compared_task_by_task() -> None:
    profiles = Profiles([Agent(0, 0, "bold"), Agent(1, 0, "bold"), Agent(2, 0, "calm"), Agent(3, 0)])
    passes = {"a": (1, 1, 1, 0), "b": (1, 0, 0, 1), "c": (0, 0, 1, 1)}
    for task, verdicts in passes.items():
        for agent, passed in enumerate(verdicts):
            profiles.add(Job(agent, task, 0), bool(passed))
    found = profiles.facts()
    scores = found["profiles"]
    assert isinstance(scores, dict)
    assert scores["bold"] | {"pass@1_interval": None} == {
        "agents": 2, "evaluations": 6, "pass@1": 0.5, "pass@10": None, "pass@100": None, "pass@1_interval": None,
        "undefined": {
            f"pass@{k}": f"pass@{k} needs at least {k} samples per task; the fewest here are 2" for k in (10, 100)
        },
    }  # fmt: skip
    assert scores["calm"]["pass@1_interval"] == list(wilson(2, 3))
    assert found["agreement"] == {"bold / calm": 1 / 3}
    assert found["unions"] == {"bold + calm": union([profiles.counts("bold"), profiles.counts("calm")])}
    assert found["solved_by_one"] == {"bold": ["b"], "calm": ["c"]}


def test_the_summary_has_a_line_per_profile_and_one_for_their_union() -> None:
    profiles = Profiles([Agent(0, 0, "bold"), Agent(1, 0, "calm")])
    for agent in (0, 1):
        for task, passed in enumerate((True, agent == 0, False, False)):
            profiles.add(Job(agent, str(task)), passed)
    score = {"pass@1": None, "passed": 3, "evaluations": 8, "total": 4, "intervals": {"pass@1": None}, "agents": None,
             "outcomes": {}, "failures": 0, "unanswered": 0, "unjudged": 0, "avg_throughput_rps": 1, "tokens_per_s": 1,
             "avg_latency_s": 1}  # fmt: skip
    lines = summary(Path("logs"), {**score, **profiles.facts()}, {}, "finished").splitlines()
    assert lines[1:4] == [
        "profile    bold: pass@1 50.0 % (95 % CI 15.0-85.0 %), 1 agent",
        "profile    calm: pass@1 25.0 % (95 % CI 4.6-69.9 %), 1 agent",
        "union      one answer per profile, at least one passes: 50.0 % (95 % CI",
    ]


def test_agents_without_names_are_not_profiles() -> None:
    profiles = Profiles([Agent(0, 0)])
    profiles.add(Job(0, "a", 0), True)
    assert profiles.facts() == {}


def test_a_profile_makes_as_many_agents_as_it_says_each_with_its_own_seed() -> None:
    listed = (AgentSettings(name="calm", count=3, seed=7), AgentSettings(name="bold", count=2, samples=4))
    config = RunConfig(agents=listed)
    agents = make_agents(config)
    assert [(agent.id, agent.name, agent.samples) for agent in agents] == [
        (0, "calm", 1), (1, "calm", 1), (2, "calm", 1), (3, "bold", 4), (4, "bold", 4)
    ]  # fmt: skip
    assert len({agent.seed for agent in agents}) == 5
    assert config.answers_a_task() == 11
    moved = make_agents(RunConfig(agents=(AgentSettings(name="new"), *listed), seed=9))
    assert [agent.seed for agent in moved[1:4]] == [agent.seed for agent in agents[:3]]  # the profile has its own seed
