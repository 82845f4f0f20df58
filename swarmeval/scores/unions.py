"""Unions of profiles: the score of several profiles used together. Pure arithmetic; reads no files."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from swarmeval.location import command
from swarmeval.scores.intervals import Interval, over_tasks, wilson
from swarmeval.scores.stats import scores

Counts = Mapping[str, tuple[int, int]]  # per task: (answers judged, passes)

EVERY = 4  # with up to this many profiles, all unions are listed, each with its interval: 11 unions, 2 s
PAIRS = 12  # with up to this many profiles, all pairs are listed: 66 pairs


def listed(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The unions that score.json lists, the union of all profiles last.

    With up to EVERY profiles all unions, with up to PAIRS all pairs and the whole, beyond that only the whole.
    """
    sizes = (
        range(2, len(names) + 1) if len(names) <= EVERY else (2, len(names)) if len(names) <= PAIRS else [len(names)]
    )
    for size in sizes:
        yield from combinations(names, size)


def unions(counts: Mapping[str, Counts]) -> dict[str, dict[str, object]]:
    """The entry of score.json: the listed unions, keyed by their members' names."""
    return {
        " + ".join(names): union(
            [counts[name] for name in names], has_interval=len(counts) <= EVERY or len(names) == len(counts)
        )
        for names in listed(list(counts))
    }


def chances(members: Sequence[Counts]) -> dict[str, float]:
    """Per task, the chance that at least one of one random answer per member passes: 1 - prod(1 - c/n).

    The estimate is unbiased because members answer independently: the mean of a product of independent estimates is
    the product of their means. Covers only tasks on which every member has a verdict; otherwise the union would be
    underestimated.
    """
    shared = [task for task in members[0] if all(task in counts and counts[task][0] for counts in members)]
    return {task: 1.0 - math.prod(1.0 - c / n for n, c in (counts[task] for counts in members)) for task in shared}


def pooled(members: Sequence[Counts]) -> list[tuple[int, int]]:
    """(answers, passes) per task, summed over all members."""
    tasks = {task: None for counts in members for task in counts}
    of_task = [[counts[task] for counts in members if task in counts] for task in tasks]
    return [(sum(n for n, _ in members_counts), sum(c for _, c in members_counts)) for members_counts in of_task]


def union(members: Sequence[Counts], has_interval: bool = True) -> dict[str, object]:
    """Scores of a union of profiles. Undefined values are None, with a reason in `undefined`.

    pass@1_each is pass@1 of an ensemble that submits one answer per member; pass@k is that of k answers drawn from
    all members' answers.
    """
    task_chances = chances(members)
    values, reasons = scores(pooled(members))
    each = interval = None
    if not task_chances:
        reasons["pass@1_each"] = "needs a task on which every profile has a verdict; none was found"
    else:
        each = math.fsum(task_chances.values()) / len(task_chances)
        if has_interval:
            interval = list(interval_of(members, task_chances))
        else:
            reasons["pass@1_each_interval"] = (
                f"with more than {EVERY} profiles, computed only for all together; use {command()} union"
            )
    return {
        "tasks": len(task_chances),
        "pass@1_each": each,
        "pass@1_each_interval": interval,
        **values,
        "undefined": reasons,
    }


def interval_of(members: Sequence[Counts], task_chances: Mapping[str, float]) -> Interval:
    """The interval of pass@1_each. Uses Wilson's interval if each member gave one answer per task."""
    values = list(task_chances.values())
    if all(counts[task][0] == 1 for counts in members for task in task_chances):
        return wilson(round(math.fsum(values)), len(values))
    return over_tasks(values)
