"""Jobs answered elsewhere, as a list: what `score` judges. The counterpart of a Plan."""

from collections import Counter
from collections.abc import Sequence

from bench.records import Agent, Job, Task


class ListedJobs:
    """Any set of jobs, in the benchmark's order: by task, then agent, then sample."""

    def __init__(self, tasks: Sequence[Task], jobs: Sequence[Job]) -> None:
        """Raises ValueError when a job stands twice."""
        place = {task.task_id: number for number, task in enumerate(tasks)}
        self._jobs = sorted(jobs, key=lambda job: (place[job.task_id], job.agent_id, job.sample))
        self._numbers = {job.job_id: k for k, job in enumerate(self._jobs)}
        if len(self._numbers) < len(self._jobs):
            twice, _ = Counter(job.job_id for job in jobs).most_common(1)[0]
            raise ValueError(f"job {twice} stands twice")
        answered = {job.task_id for job in jobs}
        self.tasks = tuple(task for task in tasks if task.task_id in answered)
        self._of_agent: dict[int, list[int]] = {}
        for k, job in enumerate(self._jobs):
            self._of_agent.setdefault(job.agent_id, []).append(k)
        self.agents = tuple(Agent(id=number, seed=0) for number in sorted(self._of_agent))

    @property
    def total(self) -> int:
        return len(self._jobs)

    @property
    def room(self) -> int:
        """Nothing here is repaired."""
        return self.total

    def job(self, k: int) -> Job:
        return self._jobs[k]

    def number(self, job_id: str) -> int:
        """KeyError when the job is not listed."""
        return self._numbers[job_id]

    def jobs_of_agent(self, agent_id: int) -> Sequence[Sequence[int]]:
        """The job numbers of one agent, ascending."""
        return [self._of_agent[agent_id]]
