"""The dashboard on a terminal: panels that are drawn anew at each look at the run folder.

The folder is read in a thread, so that keys are answered while a long journal is caught up with.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Footer, Static

from swarmeval.dashboard import machine_panel, replica_panel, run_panel
from swarmeval.dashboard.detail_screen import DetailScreen
from swarmeval.dashboard.grid import Grid
from swarmeval.dashboard.view import View, look
from swarmeval.watch.follow import Follower

Draw = Callable[[View, int], list[Text]]
WIDTHS = [(0, "-narrow"), (120, "-wide")]  # columns from which panels stand below each other, and side by side
LEAVES_S = 5.0  # after which a terminal that takes nothing any more is left as it is
CATCH_UP_S = 0.02  # between two looks while the journal is not read to its end


class Panel(Static):
    """Lines that a function draws for the width there is."""

    def __init__(self, draw: Draw, name: str, title: str = "", last: bool = False) -> None:
        super().__init__(classes=f"panel {name}", markup=False)
        self._draw = draw
        self._last = last  # of more lines than fit, the last are shown
        self._view: View | None = None
        self.border_title = title

    def show(self, view: View) -> None:
        self._view = view
        self._redraw()

    def on_resize(self) -> None:
        self._redraw()

    def _redraw(self) -> None:
        if self._view is None or not self.content_size.width:  # nothing to show, or nowhere
            return
        lines = self._draw(self._view, self.content_size.width)
        if self._last:
            lines = lines[-max(1, self.content_size.height) :]
        self.update(Text("\n").join(lines))


class Dashboard(App[int]):
    """Shows one run folder until it is left. `run_pid` is the coordinator that shares its terminal, if one does."""

    CSS_PATH = "dashboard.tcss"
    TITLE = "swarmeval"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = WIDTHS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", "leave"),
        Binding("p", "pause", "pause"),
        Binding("ctrl+c,ctrl+q", "interrupt", show=False, priority=True),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
    ]

    def __init__(self, folder: Path, interval_s: float, run_pid: int | None = None) -> None:
        super().__init__()
        self.folder = folder
        self.interval_s = interval_s
        self.paused = False
        self._run_pid = run_pid
        self._follower = Follower(folder)
        self._look_lock = asyncio.Lock()
        self._view: View | None = None

    def compose(self) -> ComposeResult:
        yield Panel(run_panel.state, "state")
        with VerticalScroll(id="body", can_focus=False):
            with Container(id="numbers"):
                with Container(id="results"):
                    yield Panel(run_panel.application, "application", "application")
                with Container(id="machine"):
                    yield from self._machine()
            yield Panel(replica_panel.replicas, "replicas", "replicas")
            yield Grid()
            with Container(id="machine-below"):  # the same, where panels stand below each other
                yield from self._machine()
            yield Panel(run_panel.log_lines, "log", "log", last=True)
        yield Footer(show_command_palette=False)

    def _machine(self) -> Iterator[Panel]:
        yield Panel(machine_panel.system, "system", "system")
        yield Panel(machine_panel.processes, "processes", "processes")

    def on_mount(self) -> None:
        self.query_one(Grid).focus()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.exit, None, 128 + signal.SIGTERM)
        # The terminal is gone: there is nothing to give back, and what is written there may never return.
        loop.add_signal_handler(signal.SIGHUP, os._exit, 128 + signal.SIGHUP)
        if self._run_pid is None:  # else the one it stands beside has the same signal, and knows what to do
            loop.add_signal_handler(signal.SIGINT, self.exit)
        self.run_worker(self._watch(), exclusive=True)

    async def _watch(self) -> None:
        while True:
            if not self.paused:
                await self.look()
            await asyncio.sleep(CATCH_UP_S if self.is_behind and not self.paused else self.interval_s)

    async def look(self) -> None:
        """Read the folder now and show it."""
        async with self._look_lock:  # a journal is followed by one look at a time
            view = await asyncio.to_thread(look, self._follower)
        if self._run_pid is not None and os.getppid() != self._run_pid:
            self.exit()  # the coordinator was killed: the terminal is its shell's again
            asyncio.get_running_loop().call_later(LEAVES_S, os._exit, 1)
        if not self.paused:
            self._view = view
            self._show()

    @property
    def is_behind(self) -> bool:
        """Whether the journal is not read to its end."""
        return self._follower.behind

    def _show(self) -> None:
        if self._view is None:
            return
        for panel in self.screen_stack[0].query(Panel):
            panel.show(self._view)
        self.screen_stack[0].query_one(Grid).show(self._view)

    def on_grid_opened(self, message: Grid.Opened) -> None:
        # Another run may have taken the place of the one that was shown.
        if self._view is not None and message.agent_id in self._view.tally.grid.agents():
            self.push_screen(DetailScreen(self.folder, self._view, message.agent_id, message.task_id))

    def action_pause(self) -> None:
        """Stop looking; what is shown stays, and the run goes on."""
        self.paused = not self.paused
        state = self.screen_stack[0].query_one(".state", Panel)
        state.border_subtitle = "PAUSED, p goes on" if self.paused else ""
        state.set_class(self.paused, "paused")

    def action_leave(self) -> None:
        self.exit()

    def action_page(self, direction: int) -> None:
        body = self.screen_stack[0].query_one("#body", VerticalScroll)
        body.scroll_page_down() if direction > 0 else body.scroll_page_up()

    def action_interrupt(self) -> None:
        """Ctrl-C, here a key like others: leave, or pass it on to the run in this terminal."""
        if self._run_pid is None:
            self.exit()
        elif os.getppid() == self._run_pid:
            os.kill(self._run_pid, signal.SIGINT)
