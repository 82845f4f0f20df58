"""Tasks without a reply: lists their names, and adds them to a score as unsolved tasks. Reads no files."""

import re
from collections.abc import Iterator, Sequence

SHOWN = 8  # limit on names and ranges in a list
RANGE = 3  # consecutive names from which on a range is used
NUMBERED = re.compile(r"(.*?)(\d+)")

WARN, FAIL = "warn", "fail"
COUNTED_AS = {WARN: "nothing", FAIL: "unsolved"}
UNSOLVED = {COUNTED_AS[FAIL], "failures"}  # the second is the word in folders of older versions


def with_failed(counts: Sequence[tuple[int, int]], number: int) -> list[tuple[int, int]]:
    """(verdicts, passes) per task, plus `number` unsolved tasks with as many verdicts as the least judged task."""
    fewest = min((n for n, _ in counts if n), default=0)
    return [*counts, *[(fewest, 0)] * number]


def named(task_ids: Sequence[str]) -> str:
    """List tasks, given in benchmark order, in a short text: "HumanEval/3, HumanEval/40 to 163, and 7 more"."""
    groups = list(_groups(task_ids))
    parts = [_words(group) for group in groups[:SHOWN]]
    left = sum(map(len, groups[SHOWN:]))
    return ", ".join(parts) + (f", and {left} more" if left else "")


def _groups(task_ids: Sequence[str]) -> Iterator[list[str]]:
    """Yield groups of consecutively numbered tasks of at least RANGE, and single tasks."""
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
