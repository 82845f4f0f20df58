"""Unions of profiles: what somebody finds who asks several of them instead of one. Pure numbers; knows no files."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from swarmeval.location import command
from swarmeval.scores.intervals import Interval, over_tasks, wilson
from swarmeval.scores.stats import scores

Counts = Mapping[str, tuple[int, int]]  # by task: answers judged, and how many of them passed

EVERY = 4  # profiles up to which every union of them is told, each with its interval: 11 unions, 2 s
PAIRS = 12  # profiles up to which pairs are: 66 of them


def listed(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The unions that score.json tells of, the one of all profiles last: every one up to EVERY profiles, each pair and
    all together up to PAIRS, and all together beyond.
    """
    sizes = (
        range(2, len(names) + 1) if len(names) <= EVERY else (2, len(names)) if len(names) <= PAIRS else [len(names)]
    )
    for size in sizes:
        yield from combinations(names, size)


def unions(counts: Mapping[str, Counts]) -> dict[str, dict[str, object]]:
    """Of profiles by name, for score.json: the listed unions, by their members' names."""
    return {
        " + ".join(names): union(
            [counts[name] for name in names], has_interval=len(counts) <= EVERY or len(names) == len(counts)
        )
        for names in listed(list(counts))
    }


def chances(members: Sequence[Counts]) -> dict[str, float]:
    """By task, the chance that at least one passes of an answer drawn from each member: 1 - prod(1 - c/n).

    Without bias, as the members answer independently of each other: the mean of a product of independent estimates is
    the product of their means. Only tasks that every member has a verdict on: without one of its answers the union
    would look worse than it is.
    """
    shared = [task for task in members[0] if all(task in counts and counts[task][0] for counts in members)]
    return {task: 1.0 - math.prod(1.0 - c / n for n, c in (counts[task] for counts in members)) for task in shared}


def pooled(members: Sequence[Counts]) -> list[tuple[int, int]]:
    """(answers, passes) of each task, whoever gave them."""
    tasks = {task: None for counts in members for task in counts}
    of_task = [[counts[task] for counts in members if task in counts] for task in tasks]
    return [(sum(n for n, _ in members_counts), sum(c for _, c in members_counts)) for members_counts in of_task]


def union(members: Sequence[Counts], has_interval: bool = True) -> dict[str, object]:
    """pass@1_each, which is pass@1 of the ensemble that gives an answer of each member, and pass@k of k answers drawn
    from all of theirs. What is undefined is None, with a reason in `undefined`.
    """
    task_chances = chances(members)
    values, reasons = scores(pooled(members))
    each = interval = None
    if not task_chances:
        reasons["pass@1_each"] = "needs a task that every profile has a verdict on; there is none"
    else:
        each = math.fsum(task_chances.values()) / len(task_chances)
        if has_interval:
            interval = list(interval_of(members, task_chances))
        else:
            reasons["pass@1_each_interval"] = f"of more than {EVERY} profiles only all together; {command()} union"
    return {
        "tasks": len(task_chances),
        "pass@1_each": each,
        "pass@1_each_interval": interval,
        **values,
        "undefined": reasons,
    }


def interval_of(members: Sequence[Counts], task_chances: Mapping[str, float]) -> Interval:
    """Of pass@1_each, from the chances of its tasks: Wilson's where each member gave one answer to each."""
    values = list(task_chances.values())
    if all(counts[task][0] == 1 for counts in members for task in task_chances):
        return wilson(round(math.fsum(values)), len(values))
    return over_tasks(values)
