"""The floors: which package may import which, and where heavy packages may be imported. Parses the code only."""

import ast
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

OUTSIDE = {"tests", "benchmarks", "scripts", "docs"}  # folders that may import anything
DOOR = "swarmeval"  # its __init__ offers the library's names to other programs, and imports from above for that
HEAVY = {"torch", "transformers", "bitsandbytes", "accelerate"}

FLOORS = {
    "main": 15,
    "swarmeval.cli": 14,
    "swarmeval.commands": 13,
    "swarmeval.session": 12,
    "swarmeval.testgen": 11,
    "swarmeval.serving": 10, "agent_manager": 10,
    "swarmeval.doctor": 9, "swarmeval.scheduling": 9,
    "swarmeval.loadtest": 8, "swarmeval.workers": 8, "metrics_dashboard": 8,
    "model_loader": 7, "swarmeval.report": 7, "swarmeval.dashboard": 7, "swarmeval.exports": 7,
    "swarmeval.engine": 6, "resource_monitor": 6, "swarmeval.watch": 6,
    "swarmeval.monitor": 5, "swarmeval.library": 5,
    "human_eval_runner": 4, "swarmeval.runs": 4,
    "swarmeval.tasks": 3, "swarmeval.scores": 3,
    "swarmeval.sandbox": 2, "swarmeval.extraction": 2, "swarmeval.settings": 2,
    "gpu_monitor": 1,
    "swarmeval": 0,  # the modules beside its packages: records, requests, errors, files, hub, ...
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """One imported name: "swarmeval.runs.plan.make" of `from swarmeval.runs.plan import make`."""

    name: str
    line: int
    at_once: bool  # at import time, not inside a function


Tree = Mapping[str, tuple[Import, ...]]  # module -> its imports


def python_files(root: Path) -> Iterator[Path]:
    """Every .py file, relative to the root, except in hidden folders and run folders."""
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if not any(part.startswith(".") or part in ("logs", "wandb") for part in relative.parts):
            yield relative


def read(root: Path) -> Tree:
    """The imports of every module under root that must respect the floors."""
    tree = {}
    for path in python_files(root):
        if path.parts[0] not in OUTSIDE:
            parts = path.with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            tree[module] = tuple(imports(ast.parse((root / path).read_text(encoding="utf-8"), str(path))))
    return tree


def imports(node: ast.AST, at_once: bool = True) -> Iterator[Import]:
    """All imports below a syntax node, including those inside functions and under TYPE_CHECKING."""
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, at_once) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        source = "." * node.level + (node.module or "")
        yield from (Import(f"{source}.{alias.name}", node.lineno, at_once) for alias in node.names)
    later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    later = later or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    for child in ast.iter_child_nodes(node):
        yield from imports(child, at_once and not later)


def module_of(name: str, tree: Tree) -> str | None:
    """The project module that an imported name comes from; None for other packages."""
    return _longest_prefix(name, tree)


def package_of(module: str, floors: Mapping[str, int]) -> str | None:
    """The entry of the table that a module belongs to."""
    return _longest_prefix(module, floors)


def _longest_prefix(name: str, names: Iterable[str]) -> str | None:
    parts = name.split(".")
    return next((prefix for end in range(len(parts), 0, -1) if (prefix := ".".join(parts[:end])) in names), None)


def edges(tree: Tree) -> Iterator[tuple[str, str, int]]:
    """(importing module, imported module, line) for imports within the project."""
    for module, names in tree.items():
        for name in names:
            if target := module_of(name.name, tree):
                yield module, target, name.line


def unplaced(tree: Tree, floors: Mapping[str, int]) -> list[str]:
    """Modules without a package in the table. The floor of `swarmeval` itself is for single modules only."""
    return [
        f"{module} has no floor: add its package to FLOORS in tests/support/floors.py, above all it imports"
        for module in tree
        if (package := package_of(module, floors)) is None or (package == "swarmeval" and module.count(".") > 1)
    ]


def upward(tree: Tree, floors: Mapping[str, int]) -> list[str]:
    """Imports of packages that are not on a lower floor. Without them, no two packages import each other."""
    faults = []
    for module, target, line in edges(tree):
        package, other = package_of(module, floors), package_of(target, floors)
        if module != DOOR and package and other and package != other and floors[other] >= floors[package]:
            faults.append(
                f"{module}:{line} imports {target}, but {package} stands on floor {floors[package]} "
                f"and {other} on {floors[other]}"
            )
    return faults


def cycles(tree: Tree) -> list[str]:
    """Cycles of modules that import each other."""
    targets: dict[str, list[str]] = {module: [] for module in tree}
    for module, target, _ in edges(tree):
        if target != module:
            targets[module].append(target)
    done: set[str] = set()
    circles = []

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            circles.append(" -> ".join([*path[path.index(module) :], module]))
        elif module not in done:
            for target in targets[module]:
                visit(target, [*path, module])
            done.add(module)

    for module in tree:
        visit(module, [])
    return circles


def away_from_home(tree: Tree, homes: Mapping[str, Set[str]]) -> list[str]:
    """Heavy packages imported outside their home modules and packages."""
    return [
        f"{module}:{name.line} imports {package}, whose home is {', '.join(sorted(homes[package]))}"
        for module, names in tree.items()
        for name in names
        if (package := name.name.split(".")[0]) in homes and not _longest_prefix(module, homes[package])
    ]


def reachable(tree: Tree, start: str, stop: Set[str]) -> set[str]:
    """Every module that importing or running `start` may import, without following the modules in `stop`."""
    targets: dict[str, set[str]] = {}
    for module, target, _ in edges(tree):
        targets.setdefault(module, set()).add(target)
    seen: set[str] = set()
    waiting = {start} & set(tree)
    while waiting:
        module = waiting.pop()
        seen.add(module)
        waiting |= targets.get(module, set()) - seen - stop
    return seen


def heavy_at_once(tree: Tree, modules: Iterable[str]) -> list[str]:
    """Imports of HEAVY packages that happen as soon as one of these modules is imported."""
    return [
        f"{module}:{name.line} imports {name.name} as soon as it is imported, in the coordinator's process"
        for module in sorted(modules)
        for name in tree[module]
        if name.at_once and name.name.split(".")[0] in HEAVY
    ]


def classes(root: Path) -> dict[str, list[str]]:
    """Class name -> the files that define it."""
    places: dict[str, list[str]] = {}
    for path in python_files(root):
        if path.parts[0] not in OUTSIDE:
            tree = ast.parse((root / path).read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(str(path))
    return places
