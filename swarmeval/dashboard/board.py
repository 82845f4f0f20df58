"""Lays out and draws the grid: rows are agents, columns are tasks, each letter a cell or a block of cells.

Pure functions: cursor and zoom are parameters.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from swarmeval.dashboard import outcome_letters
from swarmeval.dashboard.format import percent, plain
from swarmeval.dashboard.view import View
from swarmeval.watch.outcome_grid import GridCell, OutcomeGrid

MOST_LABEL = 14
MOST_CELL = 3  # width of a cell if there is room
ABOVE = 1  # lines above the cells, for the ruler


@dataclass(frozen=True, slots=True)
class Cursor:
    """The selected cell."""

    row: int = 0  # agent
    column: int = 0  # task


@dataclass(frozen=True, slots=True)
class Board:
    """The layout of a run's grid on the screen: which cells are where, and how many share a letter."""

    grid: OutcomeGrid
    agents: Sequence[int]
    tasks: Sequence[str]  # in benchmark order if known, else the answered tasks by number
    labels: Sequence[str]  # of the agents
    columns: int  # number of planned tasks
    per_row: int  # agents that share a line
    per_column: int  # tasks that share a letter
    cell: int  # width of a cell in letters
    down: int  # number of lines with cells
    across: int  # cells per line
    label: int  # width of the labels in letters
    top: int  # the first agent shown
    left: int  # the first task shown

    def at(self, x: int, y: int) -> Cursor | None:
        """The cell at a screen position; None if there is none."""
        column = self.left + (x - self.label) // self.cell * self.per_column
        row = self.top + (y - ABOVE) * self.per_row
        is_cell = x >= self.label and y >= ABOVE and row < len(self.agents) and column < self.columns
        return Cursor(row, column) if is_cell else None

    def blocks(self) -> bool:
        """Whether a letter represents more than one cell."""
        return self.per_row > 1 or self.per_column > 1


def arrange(view: View, width: int, height: int, cursor: Cursor, zoomed: bool) -> Board:
    """Lay out the grid. Zoomed, every letter is one cell and the cursor is visible; otherwise all cells fit."""
    grid = view.tally.grid
    agents, tasks = grid.agents(), _tasks(grid, view.manifest)
    columns = max(len(tasks), _planned_tasks(view.manifest))
    labels = _labels(agents, view.manifest)
    lines = max(1, height - ABOVE)
    per_row = 1 if zoomed else max(1, math.ceil(len(agents) / lines))
    until = 0 if per_row == 1 else 1 + len(str(len(agents)))  # room for the "-12" of a label such as "agent 0-12"
    label = min(MOST_LABEL, until + max(map(cell_len, labels), default=0)) + 1
    room = max(1, width - label)
    per_column = 1 if zoomed else max(1, math.ceil(columns / room))
    needed = max(1, math.ceil(columns / per_column))
    cell = min(MOST_CELL, max(1, room // needed))
    across, down = min(needed, room // cell), min(lines, math.ceil(len(agents) / per_row))
    return Board(
        grid, agents, tasks, labels, columns, per_row, per_column, cell, down, across, label,
        top=_first(cursor.row, down, len(agents)) if zoomed else 0,
        left=_first(cursor.column, across, columns) if zoomed else 0,
    )  # fmt: skip


def draw(board: Board, cursor: Cursor | None) -> list[Text]:
    """Draw the ruler, then one line per agent or block of agents."""
    if not board.columns or not board.agents:
        return [Text("No answers yet")]
    lines = [_ruler(board)]
    for place in range(board.down):
        row = board.top + place * board.per_row
        rows = slice(row, min(row + board.per_row, len(board.agents)))
        line = Text(_label(board, rows), "dim")
        for number in range(board.across):
            column = board.left + number * board.per_column
            letter, style = _letter(board, rows, column)
            selected = cursor is not None and row <= cursor.row < row + board.per_row
            selected = selected and cursor is not None and column <= cursor.column < column + board.per_column
            line.append(letter.center(board.cell), f"{style} reverse bold" if selected else style)
        lines.append(line)
    return lines


def describe(board: Board, cursor: Cursor) -> str:
    """Describe the cell under the cursor: agent, task and outcome."""
    if cursor.row >= len(board.agents) or cursor.column >= board.columns:
        return "no answers yet"
    if board.blocks():
        rows = slice(cursor.row, cursor.row + board.per_row)
        tasks = board.tasks[cursor.column : cursor.column + board.per_column]
        cell = board.grid.block(rows, tasks)
        where = f"{_label(board, rows).strip()} x {_span(tasks) or f'task {cursor.column + 1}'}"
        return f"{where}: {cell.passed} of {cell.judged} passed" if cell.judged else f"{where}: no verdict yet"
    named = cursor.column < len(board.tasks)
    task = plain(board.tasks[cursor.column]) if named else f"task {cursor.column + 1}, not started"
    cell = board.grid.cell(cursor.row, board.tasks[cursor.column]) if named else GridCell()
    return f"{board.labels[cursor.row]} x {task}: {_in_words(cell)}"


def share_of(grid: OutcomeGrid, rows: slice, tasks: Sequence[str]) -> str:
    """Summarize a task's column or an agent's row in one line."""
    cell = grid.block(rows, tasks)
    outcomes = "  ".join(f"{word} {count}" for word, count in grid.outcomes(rows, tasks).items())
    share = percent(cell.passed / cell.judged if cell.judged else None)
    return f"pass@1 {share}  {cell.passed} of {cell.judged} judged passed  {outcomes}"


def _in_words(cell: GridCell) -> str:
    if cell.judged > 1:
        return f"{cell.passed} of {cell.judged} passed"
    repaired = ", passed after repair" if cell.repaired else ""
    return (cell.word or ("waiting for a verdict" if cell.answered else "not answered")) + repaired


def _letter(board: Board, rows: slice, column: int) -> tuple[str, str]:
    tasks = board.tasks[column : column + board.per_column]
    if not tasks:
        return outcome_letters.OPEN
    if board.blocks():
        return outcome_letters.share_letter(board.grid.block(rows, tasks))
    return outcome_letters.cell_letter(board.grid.cell(rows.start, tasks[0]))


def _ruler(board: Board) -> Text:
    """The line above the cells, with a task number every few cells."""
    step = max(1, math.ceil(10 / board.cell))
    marks = ""
    for number in range(0, board.across, step):
        column = board.left + number * board.per_column
        if column < len(board.tasks):
            mark = plain(board.tasks[column]).rsplit("/", 1)[-1]
            marks = marks.ljust(number * board.cell) + f"{mark:.8}"
    title = f"{'agent':<{board.label}}"[: board.label]
    return Text(title + marks[: board.across * board.cell], "dim")


def _label(board: Board, rows: slice) -> str:
    first, last = board.labels[rows.start], board.labels[rows.stop - 1 if rows.stop <= len(board.labels) else -1]
    text = first if rows.stop - rows.start <= 1 else f"{first}-{last.rsplit(' ', 1)[-1]}"
    return set_cell_size(text, board.label - 1) + " "


def _span(tasks: Sequence[str]) -> str:
    if len(tasks) < 2:
        return plain(tasks[0]) if tasks else ""
    return f"{plain(tasks[0])} to {plain(tasks[-1]).rsplit('/', 1)[-1]}"


def _labels(agents: Sequence[int], manifest: Mapping[str, Any]) -> list[str]:
    listed = manifest.get("agents")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    names = {entry.get("id"): entry.get("name") for entry in entries}
    return [plain(f"{names.get(agent_id) or 'agent'} {agent_id}") for agent_id in agents]


def _tasks(grid: OutcomeGrid, manifest: Mapping[str, Any]) -> Sequence[str]:
    """All tasks that the manifest lists, so that columns do not move; else the tasks seen so far."""
    met, named = grid.tasks(), manifest.get("task_ids")
    is_list = isinstance(named, list) and all(isinstance(name, str) for name in named)
    return cast(list[str], named) if is_list and set(met) <= set(cast(list[str], named)) else met


def _planned_tasks(manifest: Mapping[str, Any]) -> int:
    data = manifest.get("data")
    planned = data.get("tasks") if isinstance(data, dict) else None
    return planned if isinstance(planned, int) else 0


def _first(at: int, shown: int, total: int) -> int:
    """First index of a window of `shown` items centred on `at`, within 0..total."""
    return max(0, min(at - shown // 2, total - shown))
