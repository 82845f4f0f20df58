"""The dashboard as one page of plain text, for scripts and CI: every panel below the other."""

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.text import Text

from dashboard import application, machine, replicas
from dashboard.board import Cursor, arranged, drawn
from dashboard.view import View

GRID_LINES = 12
LOG_LINES = 5


def page(view: View, width: int) -> RenderableType:
    """The panels under their names."""
    grid = drawn(arranged(view, width, GRID_LINES, Cursor(), zoomed=False), None)
    parts: list[tuple[str, list[Text]]] = [
        ("run", application.state(view, width)),
        ("application", application.application(view, width)),
        ("replicas", replicas.replicas(view, width)),
        ("tasks x agents", grid),
        ("system", machine.system(view, width)),
        ("processes", machine.processes(view, width)),
        ("log", application.log_lines(view, width)[-LOG_LINES:]),
    ]
    lines: list[RenderableType] = []
    for name, texts in parts:
        lines += [Rule(name), *texts]
    return Group(*lines)
