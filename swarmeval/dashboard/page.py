"""The dashboard as one page of plain text, with all panels stacked, for scripts and CI."""

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.text import Text

from swarmeval.dashboard import machine_panel, replica_panel, run_panel
from swarmeval.dashboard.board import Cursor, arrange, draw
from swarmeval.dashboard.view import View

GRID_LINES = 12
LOG_LINES = 5


def page(view: View, width: int) -> RenderableType:
    """Render all panels, each under its title."""
    grid = draw(arrange(view, width, GRID_LINES, Cursor(), zoomed=False), None)
    parts: list[tuple[str, list[Text]]] = [
        ("run", run_panel.state(view, width)),
        ("application", run_panel.application(view, width)),
        ("replicas", replica_panel.replicas(view, width)),
        ("tasks x agents", grid),
        ("system", machine_panel.system(view, width)),
        ("processes", machine_panel.processes(view, width)),
        ("log", run_panel.log_lines(view, width)[-LOG_LINES:]),
    ]
    lines: list[RenderableType] = []
    for name, texts in parts:
        lines += [Rule(name), *texts]
    return Group(*lines)
