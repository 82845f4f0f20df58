"""The grid widget: tasks x agents with a cursor that arrow keys and the mouse move."""

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from swarmeval.dashboard.board import Board, Cursor, arrange, describe, draw
from swarmeval.dashboard.view import View

BESIDES = 2  # lines for the border and the ruler
LEAST = 5  # smallest height in lines


class Grid(Widget, can_focus=True):
    """Draws the Board of the latest View. Enter zooms in on a block of cells, or opens a single cell."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(0, -1)", show=False),
        Binding("right,l", "move(0, 1)", show=False),
        Binding("up,k", "move(-1, 0)", show=False),
        Binding("down,j", "move(1, 0)", show=False),
        Binding("home", "move(0, -1000000)", show=False),
        Binding("end", "move(0, 1000000)", show=False),
        Binding("enter", "open", "answer"),
        Binding("z", "zoom", "zoom"),
    ]

    class Opened(Message):
        """The user opened a cell."""

        def __init__(self, agent_id: int, task_id: str) -> None:
            super().__init__()
            self.agent_id, self.task_id = agent_id, task_id

    def __init__(self) -> None:
        super().__init__(id="grid", classes="panel")
        self._view: View | None = None
        self._cursor = Cursor()
        self._zoomed = False

    def show(self, view: View) -> None:
        self._view = view
        needed = len(view.tally.grid.agents()) + BESIDES
        self.styles.height = needed if LEAST <= needed <= self.app.size.height // 3 else "3fr"  # share of the rest
        self._entitle()
        self.refresh()

    def render(self) -> Text:
        board = self._board()
        return Text("No answers yet") if board is None else Text("\n").join(draw(board, self._cursor))

    def action_move(self, down: int, right: int) -> None:
        """Move the cursor by cells, or by blocks of cells, within the grid."""
        if board := self._board():
            row = self._cursor.row // board.per_row * board.per_row + down * board.per_row
            column = self._cursor.column // board.per_column * board.per_column + right * board.per_column
            self._go(board, row, column)

    def action_zoom(self) -> None:
        self._zoomed = not self._zoomed
        self._entitle()
        self.refresh()

    def action_open(self) -> None:
        board = self._board()
        if board is None:
            return
        if board.blocks():
            self.action_zoom()
        elif self._cursor.row < len(board.agents) and self._cursor.column < len(board.tasks):
            self.post_message(self.Opened(board.agents[self._cursor.row], board.tasks[self._cursor.column]))

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the clicked cell; a click on the cursor opens the cell."""
        board = self._board()
        place = event.get_content_offset(self)
        clicked = board.at(place.x, place.y) if board and place else None
        if board is None or clicked is None:
            return
        if clicked == self._cursor:
            self.action_open()
        else:
            self._go(board, clicked.row, clicked.column)

    def on_resize(self) -> None:
        self._entitle()

    def _go(self, board: Board, row: int, column: int) -> None:
        rows, columns = max(0, len(board.agents) - 1), max(0, board.columns - 1)
        self._cursor = Cursor(min(max(row, 0), rows), min(max(column, 0), columns))
        self._entitle()
        self.refresh()

    def _board(self) -> Board | None:
        if self._view is None:
            return None
        return arrange(self._view, self.content_size.width, self.content_size.height, self._cursor, self._zoomed)

    def _entitle(self) -> None:
        """Describe the cursor's cell in the border. Uses Text, because task names may contain markup."""
        board = self._board()
        if board is not None:
            self.border_title = Text(f"tasks x agents  {describe(board, self._cursor)}")
