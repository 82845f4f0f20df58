"""Comparison of profiles (agents with the same name): their scores, agreement, tasks solved by one only, and unions."""

from collections.abc import Sequence
from itertools import combinations

from swarmeval.records import Agent, Job
from swarmeval.scores.intervals import of_counts
from swarmeval.scores.paired import SOLVED
from swarmeval.scores.stats import scores
from swarmeval.scores.unions import Counts, unions


class Profiles:
    """Accumulates verdicts per profile and task. Unnamed agents belong to no profile."""

    def __init__(self, agents: Sequence[Agent]) -> None:
        self._names = {agent.id: agent.name for agent in agents if agent.name is not None}
        self._counts: dict[str, dict[str, list[int]]] = {name: {} for name in self._names.values()}

    def add(self, job: Job, passed: bool) -> None:
        name = self._names.get(job.agent_id)
        if name is not None:
            counts = self._counts[name].setdefault(job.task_id, [0, 0])
            counts[0] += 1
            counts[1] += passed

    def facts(self) -> dict[str, object]:
        """Entries for score.json; empty without profiles.

        A profile has solved a task if at least half of its answers pass. Two profiles agree on a task if both or
        neither have solved it.
        """
        solved = {
            name: {task: c / n >= SOLVED for task, (n, c) in counts.items()}
            for name, counts in self._counts.items()
            if counts
        }
        if not solved:
            return {}
        return {
            "profiles": {name: self._score(name) for name in solved},
            "agreement": {
                f"{one} / {other}": agreement(solved[one], solved[other]) for one, other in combinations(solved, 2)
            },
            "solved_by_one": {
                name: sorted(
                    task
                    for task, is_solved in mine.items()
                    if is_solved and not any(theirs.get(task) for other, theirs in solved.items() if other != name)
                )
                for name, mine in solved.items()
            },
            "unions": unions({name: self.counts(name) for name in solved}),
        }

    def counts(self, name: str) -> dict[str, tuple[int, int]]:
        """(verdicts, passes) of a profile, per task with a verdict."""
        return {task: (n, c) for task, (n, c) in self._counts[name].items()}

    def _score(self, name: str) -> dict[str, object]:
        return {
            "agents": sum(one == name for one in self._names.values()),
            "evaluations": sum(n for n, _ in self.counts(name).values()),
            **profile_score(self.counts(name)),
        }


def profile_score(counts: Counts) -> dict[str, object]:
    """A profile's pass@k over at least one task. Undefined values are None, with a reason in `undefined`."""
    judged = list(counts.values())
    values, reasons = scores(judged)
    return {
        **values,
        "pass@1_interval": list(of_counts(judged, [c / n for n, c in judged])),
        "undefined": reasons,
    }


def agreement(one: dict[str, bool], other: dict[str, bool]) -> float | None:
    """Share of the tasks judged for both profiles that both or neither have solved."""
    both = one.keys() & other.keys()
    return sum(one[task] == other[task] for task in both) / len(both) if both else None
