"""The dashboard on a screen of its own, told when to look, and what it then says."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Static

from dashboard.app import Dashboard, Panel
from dashboard.grid import Grid

SIZES = [(80, 24), (160, 48)]
HOSTILE = "[red]a[/red] \x1b[2Jb [/] \x9b31m"
HARMLESS = "[red]a[/red] �[2Jb [/] �31m"

Act = Callable[[Dashboard, "Pilot[int]"], Awaitable[None]]


def on_screen(folder: Path, act: Act, size: tuple[int, int] = (80, 24)) -> Dashboard:
    """Run the dashboard on a screen of this size and act on it; it looks when it is told to."""

    async def run() -> Dashboard:
        app = Dashboard(folder, interval_s=3600)
        async with app.run_test(size=size) as pilot:
            await looked(app, pilot)
            await act(app, pilot)
        return app

    return asyncio.run(run())


async def looked(app: Dashboard, pilot: "Pilot[int]") -> None:
    await app.look()
    await pilot.pause()


def words(app: Dashboard) -> str:
    """All panels that are shown, and the grid, as words one blank apart."""
    panels = [panel for panel in app.query(Panel) if panel.content_size.width]
    texts = [str(panel.render()) for panel in panels]
    grid = app.query_one(Grid)
    return " ".join(" ".join([*texts, grid.border_title or "", grid.render().plain]).split())


def parts(app: Dashboard) -> str:
    """The screen of an answer."""
    return "\n".join(f"{part.border_title}\n{part.render()}" for part in app.screen.query(Static))


async def opened(app: Dashboard, pilot: "Pilot[int]", word: str) -> str:
    """The screen of an answer as soon as it shows this; it reads in a thread."""
    async with asyncio.timeout(60):
        while word not in (shown := parts(app)):
            await pilot.pause(0.02)
    return shown
