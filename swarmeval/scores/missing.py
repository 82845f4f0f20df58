"""Tasks that nobody answered: how they are named, and what a score is where they count as failed. Knows no files."""

import re
from collections.abc import Iterator, Sequence

SHOWN = 8  # names, or ranges of them
RANGE = 3  # neighbours from which on a range is shorter than its names
NUMBERED = re.compile(r"(.*?)(\d+)")

WARN, FAIL = "warn", "fail"
COUNTED_AS = {WARN: "nothing", FAIL: "failures"}


def with_failed(counts: Sequence[tuple[int, int]], number: int) -> list[tuple[int, int]]:
    """(verdicts, passes) of each task, and of so many more that failed as often as the least judged task was judged."""
    fewest = min((n for n, _ in counts if n), default=0)
    return [*counts, *[(fewest, 0)] * number]


def named(task_ids: Sequence[str]) -> str:
    """The tasks in a few words: "HumanEval/3, HumanEval/40 to 163, and 7 more". Given in the benchmark's order."""
    groups = list(_groups(task_ids))
    parts = [_words(group) for group in groups[:SHOWN]]
    left = sum(map(len, groups[SHOWN:]))
    return ", ".join(parts) + (f", and {left} more" if left else "")


def _groups(task_ids: Sequence[str]) -> Iterator[list[str]]:
    """Neighbours whose names count on, together where there are enough of them; others alone."""
    group: list[str] = []
    for task_id in task_ids:
        if group and not _follows(group[-1], task_id):
            yield from _shortest(group)
            group = []
        group.append(task_id)
    yield from _shortest(group)


def _shortest(group: list[str]) -> list[list[str]]:
    return [group] if len(group) >= RANGE else [[task_id] for task_id in group]


def _follows(before: str, task_id: str) -> bool:
    one, other = NUMBERED.fullmatch(before), NUMBERED.fullmatch(task_id)
    return bool(one and other and one[1] == other[1] and int(one[2]) + 1 == int(other[2]))


def _words(group: list[str]) -> str:
    last = NUMBERED.fullmatch(group[-1])
    return f"{group[0]} to {last[2]}" if len(group) > 1 and last else group[0]
