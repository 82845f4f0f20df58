"""The detail screen: prompt, reply, candidate and evidence of one answer, as scrollable panels."""

import asyncio
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from swarmeval.dashboard import detail
from swarmeval.dashboard.board import share_of
from swarmeval.dashboard.format import plain
from swarmeval.dashboard.view import View


class DetailScreen(Screen[None]):
    """Shows one answer. Reads it when the screen opens and when the user moves to another answer of the cell."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "back"),
        Binding("n", "turn(1)", "next answer"),
        Binding("b", "turn(-1)", "previous answer"),
    ]

    def __init__(self, folder: Path, view: View, agent_id: int, task_id: str) -> None:
        super().__init__()
        self._folder = folder
        self._view = view
        self._agent_id, self._task_id = agent_id, task_id
        self._place = 0

    def compose(self) -> ComposeResult:
        yield Static(self._head(), id="head")
        yield VerticalScroll(Static("loading ...", id="looking"), id="parts")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#parts").focus()
        self.run_worker(self._fill(), exclusive=True)

    def action_turn(self, steps: int) -> None:
        self._place += steps
        self.run_worker(self._fill(), exclusive=True)

    async def _fill(self) -> None:
        manifest = self._view.manifest
        try:
            answer_detail = await asyncio.to_thread(
                detail.read, self._folder, manifest, self._agent_id, self._task_id, self._place
            )
            parts = detail.sections(answer_detail)
        except OSError as error:
            parts = [("answer", Text(f"the journal cannot be read ({error.strerror})"))]
        box = self.query_one("#parts", VerticalScroll)
        await box.remove_children()
        for name, text in parts:
            panel = Static(text, classes="panel", markup=False)
            panel.border_title = name
            await box.mount(panel)

    def _head(self) -> Text:
        """The scores of the whole task and of the whole agent."""
        grid = self._view.tally.grid
        agents = grid.agents()
        row = agents.index(self._agent_id)
        task = share_of(grid, slice(0, len(agents)), [self._task_id])
        agent = share_of(grid, slice(row, row + 1), grid.tasks())
        head = Text.assemble((plain(f"{self._task_id}"), "bold"), f"  {task}\n")
        return head.append_text(Text.assemble((f"agent {self._agent_id}", "bold"), f"  {agent}"))
