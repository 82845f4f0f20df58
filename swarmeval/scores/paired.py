"""Paired comparison of two runs on the same tasks: tasks that flipped, the difference, and its significance."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swarmeval.scores.intervals import LEVEL, ROUNDS, SEED, Interval, over_tasks

SOLVED = 0.5  # a task counts as solved if at least this share of its answers pass


@dataclass(frozen=True, slots=True)
class Paired:
    """Comparison of run B with run A. Shares are pass@1, from 0 to 1."""

    tasks: int  # number of tasks
    difference: float  # B minus A
    interval: Interval  # 95 %, of the difference
    gained: tuple[str, ...]  # tasks that B solves and A does not
    lost: tuple[str, ...]
    p_value: float  # exact McNemar test on gained and lost
    union: float  # chance that an answer of A or an answer of B passes
    union_interval: Interval
    most: tuple[tuple[str, float, float], ...]  # (task, share of A, share of B), the largest differences first


def paired(one: Mapping[str, float], other: Mapping[str, float]) -> Paired:
    """Compare two runs by the share of passing answers per task.

    Raises ValueError if their tasks differ or there are none.
    """
    if one.keys() != other.keys() or not one:
        raise ValueError("the tasks differ")
    changes = {task: other[task] - share for task, share in one.items()}
    gained = tuple(task for task in one if one[task] < SOLVED <= other[task])
    lost = tuple(task for task in one if other[task] < SOLVED <= one[task])
    either = [1.0 - (1.0 - share) * (1.0 - other[task]) for task, share in one.items()]
    order = sorted((task for task in one if changes[task]), key=lambda task: -abs(changes[task]))
    return Paired(
        tasks=len(one),
        difference=math.fsum(changes.values()) / len(one),
        interval=interval_of(list(changes.values())),
        gained=gained,
        lost=lost,
        p_value=mcnemar(len(gained), len(lost)),
        union=math.fsum(either) / len(one),
        union_interval=over_tasks(either),
        most=tuple((task, one[task], other[task]) for task in order),
    )


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p-value: the chance of a split at least this uneven if both directions are equally likely.

    McNemar 1947; exact form of Fagerland et al. 2013, BMC Med Res Methodol 13:91, eq. 4.
    """
    # Binomial distribution function. scipy.stats has it too but takes three times as long to import.
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def interval_of(changes: Sequence[float]) -> Interval:
    """Percentile interval of the mean change, from a paired bootstrap over tasks.

    If all tasks changed by the same amount, both ends equal that amount.
    """
    chance, count = random.Random(SEED), len(changes)
    means = sorted(sum(chance.choices(changes, k=count)) / count for _ in range(ROUNDS))
    rank = (1 - LEVEL) / 2 * (ROUNDS - 1)
    return means[math.floor(rank)], means[math.ceil(ROUNDS - 1 - rank)]
