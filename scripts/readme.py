"""Writes into README and CONTRIBUTING what the code already says: table of settings, tree, map of the floors.

.venv/bin/python -m scripts.readme
"""

import ast
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel

from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.section import is_resumable, keys
from tests.support.floors import FLOORS

ROOT = Path(__file__).resolve().parent.parent
HEADER = "| key | default | in a resume | meaning |"
WIDTH = 96  # of a module's line in the tree


def settings_table() -> str:
    lines = [HEADER, "|---|---|---|---|"]
    for key, field in keys(RunConfig).items():
        shown = "none" if field.default is None else json.dumps(field.default, default=_as_typed).strip('"')
        resume = "may differ" if is_resumable(field) else ""
        lines.append(f"| `{key}` | `{shown}` | {resume} | {field.description} |")
    return "\n".join(lines)


def _as_typed(entry: BaseModel) -> object:
    """An entry of a list as people type it."""
    return entry.model_dump(exclude_defaults=True)


def tree() -> str:
    """A line per root module, then a line per package."""
    packages = sorted((ROOT / "swarmeval").rglob("__init__.py"))[1:]
    lines = [f"{path.name:<30} {_purpose(path)}" for path in sorted(ROOT.glob("*.py"))]
    lines += [f"{f'{path.parent.relative_to(ROOT)}/':<30} {_purpose(path)}" for path in packages]
    return "\n".join(lines)


def floor_map() -> str:
    """A mermaid diagram of the floors, the highest first: a package imports only from the floors below its own."""
    floors: dict[int, list[str]] = {}
    for name, floor in FLOORS.items():
        floors.setdefault(floor, []).append(
            "records, errors, ..." if name == "swarmeval" else name.removeprefix("swarmeval.")
        )
    order = sorted(floors, reverse=True)
    lines = ["```mermaid", "flowchart TB"]
    lines += [f'    floor{floor}["{" · ".join(floors[floor])}"]' for floor in order]
    lines += [f"    floor{upper} --> floor{lower}" for upper, lower in pairwise(order)]
    return "\n".join([*lines, "```"])


def readme(text: str) -> str:
    """README with its generated parts as they should be."""
    text = _exchanged(text, HEADER, "\n\n", settings_table())
    start = text.index("## The tree\n```\n")
    return text[:start] + _exchanged(text[start:], "agent_manager.py  ", "\n```", tree())


def contributing(text: str) -> str:
    """CONTRIBUTING with its generated parts as they should be."""
    text = _exchanged(text, "```mermaid\n", "\n\n", floor_map())
    return _exchanged(text, "agent_manager.py  ", "\n```", tree())


def _purpose(path: Path) -> str:
    """The first sentence of a module's docstring, as much of it as a line holds."""
    text = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    words = text.replace("\n", " ").removesuffix(".")
    words = words.split(". ")[0]
    if len(words) > WIDTH:
        words = words[: WIDTH - 4].rsplit(" ", 1)[0].rstrip(",:;") + " ..."
    return words


def _exchanged(text: str, begin: str, end: str, new: str) -> str:
    start = text.index(begin)
    return text[:start] + new + text[text.index(end, start) :]


PAGES = {"README.md": readme, "CONTRIBUTING.md": contributing}


def main(arguments: Sequence[str]) -> int:
    code = 0
    for name, generated in PAGES.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        if text == generated(text):
            continue
        if "--check" in arguments:
            sys.stderr.write(f"{name} is not what the code says; run .venv/bin/python -m scripts.readme\n")
            code = 1
        else:
            path.write_text(generated(text), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
