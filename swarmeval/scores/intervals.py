"""How sure a score is: 95 % intervals, and how many answers to each task a narrower one would take. Pure numbers.

Tasks are what a benchmark samples: answers to one task resemble each other, so it is tasks that are drawn, not answers
(Miller 2024, Adding Error Bars to Evals, arXiv 2411.00640).
"""

import math
import random
import statistics
from collections.abc import Sequence
from fractions import Fraction

from swarmeval.scores.stats import KS, pass_at_k

LEVEL = 0.95
Z = statistics.NormalDist().inv_cdf((1 + LEVEL) / 2)
ROUNDS = 10_000
HALF_WIDTHS = (0.05, 0.02, 0.01)  # of the intervals that `answers_needed` is computed for
DIFFER = "the tasks alone differ by more"
ALIKE = "all tasks have the same share of passes, and the interval follows from their number"
SEED = 20_210_707  # of the draws: the same verdicts give the same interval

Interval = tuple[float, float]


def wilson(passed: int, total: int) -> Interval:
    """Of a share, from independent answers (Wilson 1927, eq. for the score interval). Raises ValueError without any.

    In closed form: a run's end and the dashboard need it, and scipy.stats takes 0.5 s to import and 70 MB.
    """
    if not 0 <= passed <= total or total < 1:
        raise ValueError(f"{passed} of {total} is no share")
    share, square = passed / total, Z * Z
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = Z / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return 0.0 if passed == 0 else middle - half, 1.0 if passed == total else middle + half


def over_tasks(values: Sequence[float]) -> Interval:
    """Of the mean of one value in 0..1 a task: percentiles of the means of ROUNDS draws of as many tasks (bootstrap).

    Where all tasks have the same value no draw differs; the interval is Wilson's then, with a task as an answer.
    Raises ValueError without a task.
    """
    if not values:
        raise ValueError("an interval needs a task")
    if min(values) == max(values):
        return wilson(round(values[0] * len(values)), len(values))
    chance, count = random.Random(SEED), len(values)
    means = sorted(sum(chance.choices(values, k=count)) / count for _ in range(ROUNDS))
    rank = (1 - LEVEL) / 2 * (ROUNDS - 1)
    return means[math.floor(rank)], means[math.ceil(ROUNDS - 1 - rank)]


def of_counts(counts: Sequence[tuple[int, int]], values: Sequence[float]) -> Interval:
    """Of a score whose tasks have (n, c) answers and passes, and these values: Wilson's where each has one answer.

    Raises ValueError without a task.
    """
    if counts and all(n == 1 for n, _ in counts):
        return wilson(sum(c for _, c in counts), len(counts))
    return over_tasks(values)


def of_shares(counts: Sequence[tuple[int, int]]) -> Interval:
    """As of_counts, for a score that changes each second: the bootstrap's normal approximation (Miller 2024, eq. 4).

    (n, c) answers and passes of each task. Raises ValueError without a task.
    """
    shares = [c / n for n, c in counts]
    if not shares or min(shares) == max(shares) or all(n == 1 for n, _ in counts):
        return of_counts(counts, shares)
    middle, half = statistics.fmean(shares), Z * statistics.stdev(shares) / math.sqrt(len(shares))
    return max(0.0, middle - half), min(1.0, middle + half)


def variances(counts: Sequence[tuple[int, int]]) -> tuple[Fraction, Fraction]:
    """(between tasks, within a task) of pass@1, each without bias from the other, and exact.

    (n, c) of each task; raises ValueError where there are not two tasks, or one has not two answers.
    """
    if len(counts) < 2 or min(n for n, _ in counts) < 2:
        raise ValueError("needs at least 2 tasks, and 2 answers to each")
    shares = [Fraction(c, n) for n, c in counts]
    within = statistics.mean(share * (1 - share) * n / (n - 1) for share, (n, _) in zip(shares, counts, strict=True))
    return max(Fraction(0), statistics.variance(shares) - _mean_inverse(counts) * within), within


def _mean_inverse(counts: Sequence[tuple[int, int]]) -> Fraction:
    return statistics.mean(Fraction(1, n) for n, _ in counts)


def answers_needed(counts: Sequence[tuple[int, int]], half_width: float, shown: Sequence[float]) -> int | None:
    """The fewest answers to each task with which the interval of pass@1 is at most 2 x half_width wide; None: no
    number of answers is enough.

    The interval shown, of these counts, is scaled by the standard error: Var(mean) = (between + within / m) / tasks
    for m answers per task (Miller 2024). More answers do not lessen the variance between tasks. Where every task
    has the same share of passes, the interval shown follows from the number of tasks alone and is the same for any m.
    Computed with fractions: rounding must not claim that as many answers as were given suffice where they do not.
    Raises ValueError as `variances` does.
    """
    between, within = variances(counts)
    now_half = (shown[1] - shown[0]) / 2
    if not within or not _shares_differ(counts):
        return 1 if now_half <= half_width else None
    now = between + within * _mean_inverse(counts)
    room = now * (Fraction(half_width) / Fraction(now_half)) ** 2 - between
    return max(1, math.ceil(within / room)) if room > 0 else None


def _shares_differ(counts: Sequence[tuple[int, int]]) -> bool:
    return len({Fraction(c, n) for n, c in counts}) > 1


def confidence(counts: Sequence[tuple[int, int]], agents: Sequence[object]) -> tuple[dict[str, object], dict[str, str]]:
    """What score.json says of a run's certainty, and why the rest is None.

    (n, c) of each task, and each agent's own pass@1 (None where it has no verdict).
    """
    judged = [(n, c) for n, c in counts if n]
    reasons: dict[str, str] = {}
    intervals: dict[str, list[float] | None] = {}
    for k in KS:
        is_defined = judged and min(n for n, _ in judged) >= k
        intervals[f"pass@{k}"] = None
        if is_defined:
            intervals[f"pass@{k}"] = list(of_counts(judged, [pass_at_k(n, c, k) for n, c in judged]))
    own = [share for share in agents if isinstance(share, float)]
    needed: dict[str, int | None] = {}
    shown = intervals["pass@1"] or (0.0, 1.0)  # no verdict, no knowledge
    try:
        needed = {f"{width:g}": answers_needed(judged, width, shown) for width in HALF_WIDTHS}
    except ValueError as error:
        reasons["answers_needed"] = str(error)
    if None in needed.values():
        reasons["answers_needed"] = (
            f"null: {DIFFER if _shares_differ(judged) else ALIKE}; only more tasks make it narrower"
        )
    spread = None
    if len(own) > 1:
        spread = {"mean": statistics.fmean(own), "sd": statistics.stdev(own), "min": min(own), "max": max(own)}
    return {
        "intervals": intervals,
        "agents": spread,
        "answers_needed": needed or None,
    }, reasons
