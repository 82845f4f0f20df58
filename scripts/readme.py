"""Writes into README what the code already says: the table of settings and the lines of the tree.

.venv/bin/python scripts/readme.py
"""

import ast
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from bench.settings import RunConfig

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 96  # of a module's line in the tree
OUTSIDE = {"tests", "benchmarks", "scripts"}
# Folders in the order of the data; each keeps the words that README says of it.
FOLDERS = {
    "commands": "One file per subcommand: wires rooms together, computes nothing",
    "bench": "What a run is: records, settings and rules",
    "workers": "Where replies are made: replicas, the processes that hold them, and fleets of those",
    "sandbox": "Where model-written programs run",
    "testgen": "Unit tests that a model writes for real packages, merged into files and weighed",
    "doctor": "What is looked at before an expensive run",
    "serving": "A model behind an API: the server, load on one, and the law of its latency",
    "watch": "How a run is watched and shown while it runs: readings, traces, status, progress, tracking",
    "dashboard": "The live dashboard: its panels as lines of text, and the screen they stand on",
}
KERNELS = "  kernels/               C++ of the compiled kernels: pages, attention, steps, best scores"


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
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = sorted({Path(line) for line in listed.stdout.split() if (ROOT / line).exists()})
    modules = [path for path in paths if path.name != "__init__.py" and path.parts[0] not in OUTSIDE]
    lines = [f"{path.name:<24} {_purpose(path)}" for path in modules if len(path.parts) == 1]
    for folder, words in FOLDERS.items():
        lines.append(f"{folder + '/':<24} {words}")
        lines += [f"  {path.name:<22} {_purpose(path)}" for path in modules if path.parts[0] == folder]
        lines += [KERNELS] if folder == "workers" else []
    return "\n".join(lines)


def filled(readme: str) -> str:
    """README with both parts as they should be."""
    readme = _exchanged(readme, "| key | default | meaning |", "\n\n", settings_table())
    start = readme.index("## The tree\n```\n")
    return readme[:start] + _exchanged(readme[start:], "agent_manager.py  ", "\n```", tree())


def _purpose(path: Path) -> str:
    """The first sentence of a module's docstring, as much of it as a line holds."""
    text = (ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8"))) or "").split("\n\n")[0]
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
