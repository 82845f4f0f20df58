"""extractors.json: the same replies under several rules, as a comparison leaves it and a report finds it.

Knows no rule and judges nothing.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import DataError
from bench.files import replaced
from bench.intervals import Interval, of_counts
from bench.records import parse_job_id
from bench.stats import mean_pass_at_k

NAME = "extractors.json"
SHOWN = 6  # tasks in a line


@dataclass(frozen=True, slots=True)
class UnderRule:
    """What one rule makes of the replies."""

    name: str
    replies: int | None  # None, and no interval: a file of an earlier version does not say
    pass_at_1: float
    interval: Interval | None
    passed: frozenset[str]  # job ids


def under_rule(name: str, replies: Collection[str], passed: frozenset[str]) -> UnderRule:
    """`replies` and `passed` are job ids. Raises ValueError without a reply."""
    counts: dict[str, tuple[int, int]] = {}
    for job_id in replies:
        task_id = parse_job_id(job_id).task_id
        answers, passes = counts.get(task_id, (0, 0))
        counts[task_id] = (answers + 1, passes + (job_id in passed))
    each = list(counts.values())
    return UnderRule(name, len(replies), mean_pass_at_k(each, 1), of_counts(each, [c / n for n, c in each]), passed)


def write(folder: Path, rows: Iterable[UnderRule]) -> None:
    """Raises OutputError."""
    with replaced(folder / NAME) as file:
        json.dump({
            one.name: {
                "pass@1": one.pass_at_1, "pass@1_interval": one.interval, "replies": one.replies,
                "passed": sorted(one.passed),
            }
            for one in rows
        }, file, indent=2)  # fmt: skip
        file.write("\n")


def read(folder: Path) -> list[UnderRule]:
    """A row a rule, ours first; none where nothing was compared. Raises DataError when it cannot be read."""
    path = folder / NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [
            UnderRule(
                name,
                None if (replies := one.get("replies")) is None else int(replies),
                float(one["pass@1"]),
                None if (bounds := one.get("pass@1_interval")) is None else (float(bounds[0]), float(bounds[1])),
                frozenset(parse_job_id(job_id).job_id for job_id in one["passed"]),
            )
            for name, one in found.items()
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise DataError(f"{path}: cannot be read as a comparison of rules ({error}); move it away") from None


def tasks_of(jobs: Collection[str]) -> str:
    """The tasks of some jobs, the first SHOWN of them by name."""
    found = sorted({parse_job_id(job_id).task_id for job_id in jobs}, key=lambda task: (len(task), task))
    more = f", and {len(found) - SHOWN} more tasks" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more
