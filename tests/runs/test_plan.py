"""The plan is a bijection between numbers and jobs, and each seed depends only on the job."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmeval.records import Agent, Suite, Task
from swarmeval.runs.plan import Plan, batch, batch_count, make_agents
from swarmeval.settings.agents import AgentSettings
from swarmeval.settings.run_config import RunConfig


def tasks(count: int) -> list[Task]:
    return [Task(f"HumanEval/{number}", "def f():\n", Suite("f", "")) for number in range(count)]


def agents(samples: list[int]) -> list[Agent]:
    return [Agent(number, seed=number, samples=count) for number, count in enumerate(samples)]


plans = st.builds(
    lambda samples, count: Plan(agents(samples), tasks(count)),
    st.lists(st.integers(1, 4), min_size=1, max_size=5),
    st.integers(0, 7),
)


@given(plans)
def test_number_is_the_inverse_of_job(plan: Plan) -> None:
    assert [plan.number(plan.job(k).job_id) for k in range(plan.total)] == list(range(plan.total))


@given(plans)
def test_every_agent_task_and_sample_is_planned_exactly_once(plan: Plan) -> None:
    planned = [(job.agent_id, job.task_id, job.sample) for job in map(plan.job, range(plan.total))]
    wanted = {(a.id, t.task_id, s) for a in plan.agents for t in plan.tasks for s in range(a.samples)}
    assert len(planned) == len(wanted)
    assert set(planned) == wanted


@given(plans)
def test_all_agents_of_a_task_are_neighbours(plan: Plan) -> None:
    order = [plan.task(k).task_id for k in range(plan.total)]
    assert order == sorted(order, key=lambda task_id: int(task_id.split("/")[1]))


@given(plans)
def test_jobs_of_an_agent_are_its_own_and_ascending(plan: Plan) -> None:
    for agent in plan.agents:
        numbers = [k for numbers in plan.jobs_of_agent(agent.id) for k in numbers]
        assert numbers == [k for k in range(plan.total) if plan.agent(k) == agent]


@given(st.integers(0, 100), st.integers(1, 17))
def test_batches_cut_the_jobs_without_gap_or_overlap(total: int, size: int) -> None:
    cut = [k for number in range(batch_count(total, size)) for k in batch(number, total, size)]
    assert cut == list(range(total))


def test_a_job_of_another_plan_has_no_number() -> None:
    plan = Plan(agents([1, 2]), tasks(2))
    for stranger in (
        "0/HumanEval/9/0/0",
        "2/HumanEval/0/0/0",
        "0/HumanEval/0/1/0",
        "0/HumanEval/0/0/1",
        "nonsense",
        "x/y/0/0",
    ):
        with pytest.raises(KeyError):
            plan.number(stranger)


def test_a_seed_is_the_same_in_every_plan_that_has_the_job() -> None:
    small = Plan(make_agents(RunConfig(num_agents=2)), tasks(3))
    large = Plan(make_agents(RunConfig(num_agents=5, num_samples=3)), tasks(9))
    for k in range(small.total):
        assert small.seed(k) == large.seed(large.number(small.job(k).job_id))
    assert small.seed(0) == 18386489838040440553  # in every release, so that old runs stay reproducible


def test_seeds_differ_between_jobs_and_between_run_seeds() -> None:
    seeds = set()
    for run_seed in range(3):
        plan = Plan(make_agents(RunConfig(num_agents=4, num_samples=2, seed=run_seed)), tasks(5))
        seeds |= {plan.seed(k) for k in range(plan.total)}
    assert len(seeds) == 3 * 4 * 2 * 5


def test_listed_agents_keep_their_settings_and_fall_back_to_the_runs() -> None:
    listed = (AgentSettings(name="bold", temperature=1.2, samples=3), AgentSettings(system_prompt="Be brief."))
    bold, brief = make_agents(RunConfig(agents=listed, num_samples=2))
    assert (bold.name, bold.temperature, bold.samples) == ("bold", 1.2, 3)
    assert (brief.system_prompt, brief.temperature, brief.samples) == ("Be brief.", None, 2)


def test_each_adapter_gets_num_agents_and_a_profile_of_its_name() -> None:
    config = RunConfig(adapters={"base": None, "code": "adapters/code"}, num_agents=2, num_samples=3)
    made = make_agents(config)
    assert [(agent.name, agent.adapter) for agent in made] == [
        ("base", ""),
        ("base", ""),
        ("code", "code"),
        ("code", "code"),
    ]
    assert len({agent.seed for agent in made}) == 4
    assert config.answers_a_task() == 12


def test_an_agent_names_its_adapter_which_names_its_profile() -> None:
    listed = (
        AgentSettings(adapter="code", count=2),
        AgentSettings(adapter="code", name="warm code"),
        AgentSettings(adapter="base"),
        AgentSettings(),
    )
    made = make_agents(RunConfig(adapters={"base": None, "code": "adapters/code"}, agents=listed))
    assert [(agent.name, agent.adapter) for agent in made] == [
        ("code", "code"), ("code", "code"), ("warm code", "code"), ("base", ""), (None, ""),
    ]  # fmt: skip
