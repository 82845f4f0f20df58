"""The terminal dashboard: panels that are redrawn whenever the run folder is read.

A thread reads the folder, so that keys respond even while it reads a long journal.
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
WIDTHS = [(0, "-narrow"), (120, "-wide")]  # terminal widths from which panels are stacked, or side by side
LEAVES_S = 5.0  # time to restore a terminal that may no longer accept output
CATCH_UP_S = 0.02  # pause between reads while the journal has unread lines


class Panel(Static):
    """A panel whose lines a function draws for the available width."""

    def __init__(self, draw: Draw, name: str, title: str = "", last: bool = False) -> None:
        super().__init__(classes=f"panel {name}", markup=False)
        self._draw = draw
        self._last = last  # whether to show the last lines if not all fit
        self._view: View | None = None
        self.border_title = title

    def show(self, view: View) -> None:
        self._view = view
        self._redraw()

    def on_resize(self) -> None:
        self._redraw()

    def _redraw(self) -> None:
        if self._view is None or not self.content_size.width:
            return
        lines = self._draw(self._view, self.content_size.width)
        if self._last:
            lines = lines[-max(1, self.content_size.height) :]
        self.update(Text("\n").join(lines))


class Dashboard(App[int]):
    """The dashboard of one run folder. `run_pid` is the coordinator that shares its terminal, if there is one."""

    CSS_PATH = "dashboard.tcss"
    TITLE = "swarmeval"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = WIDTHS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", "quit"),
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
            with Container(id="machine-below"):  # the same panels for the narrow layout
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
        # The terminal is gone. It cannot be restored, and writing to it could block forever.
        loop.add_signal_handler(signal.SIGHUP, os._exit, 128 + signal.SIGHUP)
        if self._run_pid is None:  # otherwise the coordinator gets the same signal and handles it
            loop.add_signal_handler(signal.SIGINT, self.exit)
        self.run_worker(self._watch(), exclusive=True)

    async def _watch(self) -> None:
        while True:
            if not self.paused:
                await self.look()
            await asyncio.sleep(CATCH_UP_S if self.is_behind and not self.paused else self.interval_s)

    async def look(self) -> None:
        """Read the folder and redraw the panels."""
        async with self._look_lock:  # the follower supports one reader at a time
            view = await asyncio.to_thread(look, self._follower)
        if self._run_pid is not None and os.getppid() != self._run_pid:
            self.exit()  # the coordinator was killed, so the terminal belongs to the shell again
            asyncio.get_running_loop().call_later(LEAVES_S, os._exit, 1)
        if not self.paused:
            self._view = view
            self._show()

    @property
    def is_behind(self) -> bool:
        """Whether the journal has unread lines."""
        return self._follower.behind

    def _show(self) -> None:
        if self._view is None:
            return
        for panel in self.screen_stack[0].query(Panel):
            panel.show(self._view)
        self.screen_stack[0].query_one(Grid).show(self._view)

    def on_grid_opened(self, message: Grid.Opened) -> None:
        # A different run may have replaced the one that is shown.
        if self._view is not None and message.agent_id in self._view.tally.grid.agents():
            self.push_screen(DetailScreen(self.folder, self._view, message.agent_id, message.task_id))

    def action_pause(self) -> None:
        """Stop or resume updating the screen. The run itself continues."""
        self.paused = not self.paused
        state = self.screen_stack[0].query_one(".state", Panel)
        state.border_subtitle = "PAUSED, press p to continue" if self.paused else ""
        state.set_class(self.paused, "paused")

    def action_leave(self) -> None:
        self.exit()

    def action_page(self, direction: int) -> None:
        body = self.screen_stack[0].query_one("#body", VerticalScroll)
        body.scroll_page_down() if direction > 0 else body.scroll_page_up()

    def action_interrupt(self) -> None:
        """Handle Ctrl-C: quit, or pass the interrupt on to the run in this terminal."""
        if self._run_pid is None:
            self.exit()
        elif os.getppid() == self._run_pid:
            os.kill(self._run_pid, signal.SIGINT)
