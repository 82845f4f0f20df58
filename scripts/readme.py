"""Writes into README what the code already says: the table of settings and the lines of the tree.

.venv/bin/python scripts/readme.py
"""

import ast
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from swarmeval.settings.run_config import RunConfig

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 96  # of a module's line in the tree


def settings_table() -> str:
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for key, field in RunConfig.model_fields.items():
        shown = "none" if field.default is None else json.dumps(field.default, default=_said).strip('"')
        lines.append(f"| `{key}` | `{shown}` | {field.description} |")
    return "\n".join(lines)


def _said(entry: BaseModel) -> object:
    """An entry of a list as people type it."""
    return entry.model_dump(exclude_defaults=True)


def tree() -> str:
    """A line per root module, then a line per package."""
    packages = sorted((ROOT / "swarmeval").rglob("__init__.py"))[1:]
    lines = [f"{path.name:<30} {_purpose(path)}" for path in sorted(ROOT.glob("*.py"))]
    lines += [f"{f'{path.parent.relative_to(ROOT)}/':<30} {_purpose(path)}" for path in packages]
    return "\n".join(lines)


def filled(readme: str) -> str:
    """README with both parts as they should be."""
    readme = _exchanged(readme, "| key | default | meaning |", "\n\n", settings_table())
    start = readme.index("## The tree\n```\n")
    return readme[:start] + _exchanged(readme[start:], "agent_manager.py  ", "\n```", tree())


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


def main(arguments: Sequence[str]) -> int:
    path = ROOT / "README.md"
    readme = path.read_text(encoding="utf-8")
    wanted = filled(readme)
    if readme == wanted:
        return 0
    if "--check" in arguments:
        sys.stderr.write("README.md is not what the code says; run .venv/bin/python -m scripts.readme\n")
        return 1
    path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
