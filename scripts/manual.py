"""Writes into the manual and CONTRIBUTING what the code already says: settings, commands, the map.

.venv/bin/python -m scripts.manual [--check]

A generated part stands between `<!-- generated: NAME -->` and `<!-- end: NAME -->`. With --check nothing is written;
the exit code is 1 if a part differs from the code.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scripts.manual_commands import commands
from scripts.manual_map import floor_diagram, floor_table, tree
from scripts.manual_sandbox import calls_in_one_process, calls_of_all, calls_of_executed, limits, places
from scripts.manual_settings import settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("docs/settings.md", "docs/commands.md", "docs/architecture.md", "docs/sandbox-audit.md", "CONTRIBUTING.md")
PARTS: Mapping[str, Callable[[], str]] = {
    "settings": settings, "commands": commands, "tree": tree, "floor table": floor_table,
    "floor diagram": floor_diagram, "calls of all": calls_of_all, "calls in one process": calls_in_one_process,
    "calls of executed": calls_of_executed, "sandbox limits": limits, "sandbox places": places,
}  # fmt: skip
PART = re.compile(r"(<!-- generated: (?P<name>[\w ]+) -->\n).*?(<!-- end: (?P=name) -->)", re.DOTALL)


def renewed(page: str) -> str:
    """The page with every generated part as the code has it. Raises KeyError for a part that does not exist."""
    return PART.sub(lambda found: f"{found[1]}\n{PARTS[found['name']]()}\n\n{found[3]}", page)


def main(arguments: Sequence[str]) -> int:
    code = 0
    for name in PAGES:
        path = ROOT / name
        page = path.read_text(encoding="utf-8")
        if page == renewed(page):
            continue
        if "--check" in arguments:
            sys.stderr.write(f"{name} differs from the code; run .venv/bin/python -m scripts.manual\n")
            code = 1
        else:
            path.write_text(renewed(page), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
