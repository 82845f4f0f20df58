"""95 % confidence intervals of scores, and the answers per task that a narrower interval needs. Pure arithmetic.

A benchmark is a sample of tasks, and answers to one task resemble each other. The bootstrap therefore resamples tasks,
not answers (Miller 2024, Adding Error Bars to Evals, arXiv 2411.00640).
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
HALF_WIDTHS = (0.05, 0.02, 0.01)  # interval half-widths that `answers_needed` is computed for
DIFFER = "the tasks alone differ by more"
ALIKE = "all tasks have the same share of passes, and the interval follows from their number"
SEED = 20_210_707  # of the bootstrap: the same verdicts give the same interval

Interval = tuple[float, float]


def wilson(passed: int, total: int) -> Interval:
    """Wilson's 95 % score interval of the share passed / total, for independent answers (Wilson 1927).

    Raises ValueError without answers.
    """
    # Written out because scipy.stats takes 0.5 s and 70 MB to import, at the end of every run and in the dashboard.
    if not 0 <= passed <= total or total < 1:
        raise ValueError(f"{passed} of {total} is not a share")
    share, square = passed / total, Z * Z
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = Z / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return 0.0 if passed == 0 else middle - half, 1.0 if passed == total else middle + half


def over_tasks(values: Sequence[float]) -> Interval:
    """95 % bootstrap interval of the mean of one value from 0 to 1 per task: percentiles of 10,000 resamples of tasks.

    The seed is fixed, so the same values give the same interval. If all tasks have the same value, resampling shows no
    spread, and Wilson's interval for one answer per task is used. Raises ValueError without a task.
    """
    if not values:
        raise ValueError("an interval needs a task")
    if min(values) == max(values):
        return wilson(round(values[0] * len(values)), len(values))
    chance, count = random.Random(SEED), len(values)
    means = sorted(sum(chance.choices(values, k=count)) / count for _ in range(ROUNDS))
    rank = (1 - LEVEL) / 2 * (ROUNDS - 1)
    return means[math.floor(rank)], means[math.ceil(ROUNDS - 1 - rank)]


def of_pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> Interval:
    """95 % interval of the mean of pass@k over tasks. `counts` are (answers, passes) per task.

    Wilson's interval if every task has one answer, otherwise a bootstrap over tasks. Raises ValueError without a task,
    or if a task has fewer than k answers.
    """
    return of_counts(counts, [pass_at_k(n, c, k) for n, c in counts])


def of_counts(counts: Sequence[tuple[int, int]], values: Sequence[float]) -> Interval:
    """Interval of a mean score. `counts` are (answers, passes) per task, `values` the tasks' scores.

    Uses Wilson's interval if every task has one answer. Raises ValueError without a task.
    """
    if counts and all(n == 1 for n, _ in counts):
        return wilson(sum(c for _, c in counts), len(counts))
    return over_tasks(values)


def of_shares(counts: Sequence[tuple[int, int]]) -> Interval:
    """Fast version of of_counts for live displays: the bootstrap's normal approximation (Miller 2024, eq. 4).

    `counts` are (answers, passes) per task. Raises ValueError without a task.
    """
    shares = [c / n for n, c in counts]
    if not shares or min(shares) == max(shares) or all(n == 1 for n, _ in counts):
        return of_counts(counts, shares)
    middle, half = statistics.fmean(shares), Z * statistics.stdev(shares) / math.sqrt(len(shares))
    return max(0.0, middle - half), min(1.0, middle + half)


def variances(counts: Sequence[tuple[int, int]]) -> tuple[Fraction, Fraction]:
    """Unbiased, exact variances of pass@1: (between tasks, within a task).

    `counts` are (n, c) per task. Raises ValueError with fewer than two tasks, or fewer than two answers to a task.
    """
    if len(counts) < 2 or min(n for n, _ in counts) < 2:
        raise ValueError("needs at least 2 tasks, and 2 answers to each")
    shares = [Fraction(c, n) for n, c in counts]
    within = statistics.mean(share * (1 - share) * n / (n - 1) for share, (n, _) in zip(shares, counts, strict=True))
    return max(Fraction(0), statistics.variance(shares) - _mean_inverse(counts) * within), within


def _mean_inverse(counts: Sequence[tuple[int, int]]) -> Fraction:
    return statistics.mean(Fraction(1, n) for n, _ in counts)


def answers_needed(counts: Sequence[tuple[int, int]], half_width: float, shown: Sequence[float]) -> int | None:
    """The fewest answers per task for which the interval of pass@1 is at most 2 x half_width wide; None if no number
    is enough.

    Scales the current interval, `shown`, by the standard error: Var(mean) = (between + within / m) / tasks for m
    answers per task (Miller 2024). More answers do not reduce the variance between tasks. If all tasks have the same
    share of passes, the interval depends only on the number of tasks and is the same for any m. Fractions avoid a
    rounding error that could declare the current number of answers sufficient. Raises ValueError as `variances` does.
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
    """The entries of score.json on uncertainty, and the reasons for missing values.

    `counts` are (n, c) per task, `agents` each agent's own pass@1 (None without a verdict).
    """
    judged = [(n, c) for n, c in counts if n]
    reasons: dict[str, str] = {}
    intervals: dict[str, list[float] | None] = {}
    for k in KS:
        is_defined = judged and min(n for n, _ in judged) >= k
        intervals[f"pass@{k}"] = None
        if is_defined:
            intervals[f"pass@{k}"] = list(of_pass_at_k(judged, k))
    own = [share for share in agents if isinstance(share, float)]
    needed: dict[str, int | None] = {}
    shown = intervals["pass@1"] or (0.0, 1.0)
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
