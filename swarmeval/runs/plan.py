"""The plan of a run: maps a job number to its agent, task, sample and seed by arithmetic, without a list of jobs.

Jobs are ordered by task, then agent, then sample, so that all jobs of a task are adjacent and share its prompt.
Pure: the same inputs give the same plan on every machine.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from swarmeval.records import Agent, Job, Task, split_job_id
from swarmeval.settings.run_config import RunConfig


def stable_hash(*parts: object) -> int:
    """A 64-bit BLAKE2b hash of the parts, the same in every process and on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def make_agents(config: RunConfig) -> tuple[Agent, ...]:
    """Create the configured agents: `num_agents` equal ones (per adapter), or `count` of each entry of `agents`."""
    profiles = config.profiles()
    if profiles is None:
        return tuple(
            Agent(
                number,
                stable_hash(config.seed, number),
                system_prompt=config.system_prompt,
                samples=config.num_samples,
                repairs=config.max_repairs,
            )
            for number in range(config.num_agents)
        )
    listed = [(profile, place) for profile in profiles for place in range(profile.count)]
    return tuple(
        Agent(
            id=number,
            seed=stable_hash(config.seed, number) if profile.seed is None else stable_hash(profile.seed, place),
            name=profile.adapter if profile.name is None else profile.name,
            system_prompt=config.system_prompt if profile.system_prompt is None else profile.system_prompt,
            temperature=profile.temperature,
            top_p=profile.top_p,
            top_k=profile.top_k,
            min_p=profile.min_p,
            presence_penalty=profile.presence_penalty,
            frequency_penalty=profile.frequency_penalty,
            logit_bias=None if profile.logit_bias is None else tuple(profile.logit_bias.items()),
            samples=profile.samples or config.num_samples,
            repairs=config.max_repairs if profile.max_repairs is None else profile.max_repairs,
            adapter=profile.adapter if profile.adapter and config.adapters[profile.adapter] else "",
        )
        for number, (profile, place) in enumerate(listed)
    )


def batch_count(total: int, size: int) -> int:
    """Number of batches of `size` jobs that `total` jobs need; the last may be short."""
    return -(-total // size)


def batch(number: int, total: int, size: int) -> range:
    """The job numbers of one batch."""
    return range(number * size, min((number + 1) * size, total))


def whole_tasks(per_task: int, size: int) -> int:
    """Number of jobs of as many whole tasks as fit into a batch of `size` jobs, but at least one task."""
    return per_task * max(1, size // per_task)


class Plan:
    """The jobs of a run and their order.

    Jobs of round 0 have the numbers range(total). A repair has the number of the job it repairs plus `total`, so
    all possible jobs are in range(room).
    """

    def __init__(self, agents: Sequence[Agent], tasks: Sequence[Task]) -> None:
        self.agents = tuple(agents)
        self.tasks = tuple(tasks)
        self._starts = (0, *accumulate(agent.samples for agent in agents))  # first job of each agent within a task
        self._per_task = self._starts[-1]
        self._task_numbers = {task.task_id: number for number, task in enumerate(tasks)}

    @property
    def total(self) -> int:
        """Number of jobs of round 0."""
        return self._per_task * len(self.tasks)

    @property
    def room(self) -> int:
        """Upper bound on the number of jobs, repairs included."""
        return self.total * (1 + max((agent.repairs for agent in self.agents), default=0))

    @property
    def missing(self) -> tuple[str, ...]:
        """Tasks without jobs: none, because a plan covers all selected tasks."""
        return ()

    @property
    def failed_tasks(self) -> int:
        return 0

    def job(self, k: int) -> Job:
        """The k-th job."""
        round_, first = divmod(k, self.total)
        task_number, within = divmod(first, self._per_task)
        agent_number = bisect_right(self._starts, within) - 1
        sample = within - self._starts[agent_number]
        return Job(self.agents[agent_number].id, self.tasks[task_number].task_id, sample, round_)

    def number(self, job_id: str) -> int:
        """The inverse of job(). Raises KeyError if the job does not belong to this plan."""
        try:
            agent_id, task_id, sample, round_ = split_job_id(job_id)
            first = self._task_numbers[task_id] * self._per_task
        except (ValueError, KeyError):
            raise KeyError(job_id) from None
        if not 0 <= agent_id < len(self.agents):
            raise KeyError(job_id)
        agent = self.agents[agent_id]
        if not (0 <= sample < agent.samples and 0 <= round_ <= agent.repairs):
            raise KeyError(job_id)
        return round_ * self.total + first + self._starts[agent_id] + sample

    def task(self, k: int) -> Task:
        """The task of the k-th job."""
        return self.tasks[k % self.total // self._per_task]

    def agent(self, k: int) -> Agent:
        """The agent of the k-th job."""
        return self.agents[bisect_right(self._starts, k % self._per_task) - 1]

    def seed(self, k: int) -> int:
        """The seed of the k-th job, a hash of the agent's seed, task, sample and round only."""
        job = self.job(k)
        return stable_hash(self.agent(k).seed, job.task_id, job.sample, job.round)

    def jobs_of_agent(self, agent_id: int) -> list[range]:
        """The job numbers of one agent in round 0, one range per task."""
        start, stop = self._starts[agent_id], self._starts[agent_id + 1]
        return [range(base + start, base + stop) for base in range(0, self.total, self._per_task)]
