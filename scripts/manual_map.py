"""The map of the code for the manual: one line per package, and the floors. Reads docstrings and FLOORS."""

import ast
from itertools import pairwise
from pathlib import Path

from tests.support.floors import FLOORS

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 96  # of a module's line in the tree


def tree() -> str:
    """One line per root module, then one line per package."""
    packages = sorted((ROOT / "swarmeval").rglob("__init__.py"))[1:]
    lines = [f"{path.name:<30} {_purpose(path)}" for path in sorted(ROOT.glob("*.py"))]
    lines += [f"{f'{path.parent.relative_to(ROOT)}/':<30} {_purpose(path)}" for path in packages]
    return "\n".join(["```text", *lines, "```"])


def floor_table() -> str:
    """The packages of each floor, the highest floor first."""
    lines = [f"| {floor} | {', '.join(f'`{name}`' for name in names)} |" for floor, names in _floors()]
    return "\n".join(["| floor | packages and modules |", "|---|---|", *lines])


def floor_diagram() -> str:
    """A mermaid diagram of the floors, the highest first."""
    order = [floor for floor, _ in _floors()]
    lines = ["```mermaid", "flowchart TB"]
    lines += [f'    floor{floor}["{" · ".join(names)}"]' for floor, names in _floors()]
    lines += [f"    floor{upper} --> floor{lower}" for upper, lower in pairwise(order)]
    return "\n".join([*lines, "```"])


def _floors() -> list[tuple[int, list[str]]]:
    """Floors and the names on them, highest first; the modules beside the packages stand for floor 0."""
    floors: dict[int, list[str]] = {}
    for name, floor in FLOORS.items():
        shown = "records, errors, ..." if name == "swarmeval" else name.removeprefix("swarmeval.")
        floors.setdefault(floor, []).append(shown)
    return sorted(floors.items(), reverse=True)


def _purpose(path: Path) -> str:
    """The first sentence of a module's docstring, cut to one line."""
    text = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    words = text.replace("\n", " ").removesuffix(".")
    words = words.split(". ")[0]
    if len(words) > WIDTH:
        words = words[: WIDTH - 4].rsplit(" ", 1)[0].rstrip(",:;") + " ..."
    return words
