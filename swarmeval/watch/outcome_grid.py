"""Outcomes per agent and task, in a few bytes per pair. Memory does not grow with the number of jobs.

Callers add journal entries one by one. Independent of files and colours.
"""

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from swarmeval.records import NOT_GENERATED, Job, Outcome

WORDS = (*(str(outcome) for outcome in Outcome), NOT_GENERATED)
CODES = {word: code for code, word in enumerate(WORDS, start=1)}  # 0: no verdict yet
DIGITS = re.compile(r"([0-9]+)")


@dataclass(frozen=True, slots=True)
class GridCell:
    """Summary of the answers of an agent to a task, or of several agents to several tasks."""

    answered: int = 0  # completions and failures of round 0
    judged: int = 0  # verdicts of round 0
    passed: int = 0
    word: str = ""  # the last outcome, NOT_GENERATED for a failure; "" if there is none yet
    mixed: bool = False  # whether outcomes differ
    repaired: bool = False  # whether a repair passed


class _Column:
    """The counts of one task, per agent in row order."""

    __slots__ = ("answered", "flags", "judged", "passed", "words")

    def __init__(self) -> None:
        self.answered, self.judged, self.passed = array("I"), array("I"), array("I")
        self.words, self.flags = bytearray(), bytearray()  # flags: 1 mixed, 2 repaired

    def reach(self, row: int) -> None:
        missing = row + 1 - len(self.words)
        if missing > 0:
            for counts in (self.answered, self.judged, self.passed):
                counts.frombytes(bytes(missing * counts.itemsize))
            self.words.extend(bytes(missing))
            self.flags.extend(bytes(missing))


class OutcomeGrid:
    """A grid of agents x tasks that grows as new ones appear. The first rows are `agents`, in order.

    One thread may add while another reads; the reader may then see counts from before or after an update.
    """

    def __init__(self, agents: Sequence[int] = ()) -> None:
        self._rows = {agent_id: row for row, agent_id in enumerate(agents)}
        self._columns: dict[str, _Column] = {}
        self._sorted: list[str] = []

    def answer(self, job: Job, failed: bool) -> None:
        """Count a completion or a failure."""
        if job.round == 0:
            column, row = self._place(job)
            column.answered[row] += 1
            if failed:
                self._set_word(column, row, CODES[NOT_GENERATED])

    def verdict(self, job: Job, outcome: str) -> None:
        """Count a verdict. Verdicts on repairs only mark a cell as repaired, because they do not affect scores."""
        column, row = self._place(job)
        passed = outcome == Outcome.PASSED
        if job.round > 0:
            column.flags[row] |= 2 if passed else 0
            return
        column.judged[row] += 1
        column.passed[row] += passed
        self._set_word(column, row, CODES[outcome])

    def cell(self, row: int, task_id: str) -> GridCell:
        """Summary of one agent's answers to one task; an empty GridCell if there are none."""
        column = self._columns.get(task_id)
        if column is None or row >= len(column.words):
            return GridCell()
        code, flags = column.words[row], column.flags[row]
        word = WORDS[code - 1] if code else ""
        counts = column.answered[row], column.judged[row], column.passed[row]
        return GridCell(*counts, word, bool(flags & 1), bool(flags & 2))

    def block(self, rows: slice, tasks: Sequence[str]) -> GridCell:
        """Summary of several agents and tasks: counts, and an outcome if there is one."""
        answered = judged = passed = code = 0
        for column in filter(None, map(self._columns.get, tasks)):
            answered += sum(column.answered[rows])
            judged += sum(column.judged[rows])
            passed += sum(column.passed[rows])
            code = code or max(column.words[rows], default=0)
        return GridCell(answered, judged, passed, WORDS[code - 1] if code else "")

    def outcomes(self, rows: slice, tasks: Sequence[str]) -> dict[str, int]:
        """Number of cells per outcome in a block, most frequent first. A cell counts with its last outcome."""
        words = b"".join(column.words[rows] for column in filter(None, map(self._columns.get, tasks)))
        counts = {word: words.count(code) for word, code in CODES.items()}
        return {word: counts[word] for word in sorted(counts, key=counts.__getitem__, reverse=True) if counts[word]}

    def agents(self) -> list[int]:
        """The agents known so far, in row order."""
        return list(self._rows)

    def tasks(self) -> list[str]:
        """The tasks seen so far in natural order, HumanEval/9 before HumanEval/10."""
        if len(self._sorted) != len(self._columns):
            self._sorted = sorted(self._columns, key=natural)
        return self._sorted

    def counts(self) -> list[tuple[int, int]]:
        """(verdicts, passes) of round 0, per task with a verdict."""
        sums = ((sum(column.judged), sum(column.passed)) for column in list(self._columns.values()))
        return [(judged, passed) for judged, passed in sums if judged]

    def _place(self, job: Job) -> tuple[_Column, int]:
        row = self._rows.setdefault(job.agent_id, len(self._rows))
        column = self._columns.get(job.task_id)
        if column is None:
            column = self._columns[job.task_id] = _Column()
        column.reach(row)
        return column, row

    def _set_word(self, column: _Column, row: int, code: int) -> None:
        if column.words[row] not in (0, code):
            column.flags[row] |= 1
        column.words[row] = code


def natural(task_id: str) -> list[tuple[int, str]]:
    """Sort key for natural order, with numbers of any length: T/2 before T/10."""
    parts = DIGITS.split(task_id)
    parts[1::2] = [digits.lstrip("0") for digits in parts[1::2]]
    return [(len(part) if place % 2 else 0, part) for place, part in enumerate(parts)]
