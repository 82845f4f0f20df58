"""The floors: who may import whom, and where the heavy packages live. Reads the code, imports none of it.

A new file gets a line in FLOORS: the lowest floor above all it imports. Halves are floors between floors.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = {"tests", "benchmarks", "scripts"}  # folders that may import anything
MAX_LINES = 330  # the guide says 300; past this a file has two subjects

FLOORS = {
    # what a run is
    "bench.secrets": -1, "bench.errors": 0, "bench.calibration": 0, "bench.records": 0, "bench.version": 0,
    "bench.syntax": 0, "bench.endpoint_rules": 0, "bench.fleet_rules": 0.5, "bench.load_rules": 0,
    "bench.agent_settings": 0,
    "bench.files": 1, "bench.settings": 1,
    "bench.programs": 1, "bench.regions": 1, "bench.settings_file": 1.5, "bench.repairs": 1, "bench.bodies": 1.5,
    "bench.search": 1.8, "bench.extraction": 2, "bench.journal": 2, "bench.listed": 2, "bench.plan": 2,
    "bench.published": 2, "bench.reply_file": 2, "bench.stats": 2, "bench.ledger": 2.5, "bench.prompts": 2.5,
    "bench.queues": 2.5, "bench.run_folder": 2.5, "bench.extractors": 1, "bench.intervals": 2.5, "bench.paired": 2.6,
    "bench.profiles": 2.8, "bench.other_verdicts": 2, "bench.unions": 2.7, "bench.bases": 2.8, "bench.rounds": 2.8,
    "bench.audit": 2.8, "bench.energy": 2.8, "bench.ended_run": 3, "bench.results": 3, "bench.latency": 1,
    "bench.costs": 2.7, "bench.answers": 2.5, "bench.under_rules": 2.55, "bench.feedback": 1, "bench.datasets": 1.5,
    "bench.task_forms": 2, "bench.benchmarks": 2.5,
    # where programs run
    "sandbox.clock": 0, "sandbox.kernel": 0, "sandbox.frames": 0, "sandbox.places": 0, "sandbox.priority": 0,
    "sandbox.plain": 0, "sandbox.folders": 0, "sandbox.held": 0, "sandbox.lines": 0, "sandbox.evidence": 0,
    "sandbox.execution": 0.1,
    "sandbox.landlock": 0.25, "sandbox.seccomp": 0.25, "sandbox.namespaces": 0.25, "sandbox.answering": 0.25,
    "sandbox.asking": 0.25, "sandbox.telling": 0.25, "sandbox.guard": 0.5, "sandbox.child": 1, "sandbox.jail": 1.25,
    "sandbox.cell": 1.5, "sandbox.tester": 1.6, "sandbox.outcomes": 1.6, "sandbox.warden": 1.75, "sandbox.runner": 2,
    "human_eval_runner": 3,
    # where replies are made: around the model, the model's side, inside a worker, all workers
    "workers.endpoint_faults": 0, "workers.brake": 0, "workers.endpoint_body": 1.5, "workers.endpoint_stream": 1.5,
    "workers.endpoint_client": 2, "workers.endpoint_probe": 2.2, "workers.endpoint_life": 3, "workers.endpoint": 4,
    "workers.death": 0, "workers.phases": 1, "workers.protocol": 1, "workers.replica_spec": 1, "workers.hub": 1,
    "workers.embedded": 1, "workers.card": 0, "workers.vllm_here": 1, "workers.wire": 1.5, "workers.placement": 1.4,
    "workers.devices": 1.5, "model_loader": 2, "workers.attention": 2, "workers.beams": 2, "workers.budget": 2,
    "workers.cpu_weights": 2, "workers.common_prefix": 2, "workers.decoder": 2, "workers.native": 2,
    "workers.pages": 2, "workers.scripted": 2, "workers.tokens": 2, "workers.prefill": 2.1, "workers.draw": 2.1,
    "workers.paged_attention": 2.1, "workers.paged": 2.2, "workers.separate": 2.2, "workers.slots": 2.2,
    "workers.upload": 2, "workers.steps": 2.1, "workers.graphs": 2.2, "workers.stopping": 2.2, "workers.growth": 2.3,
    "workers.model_card": 2.2, "workers.sampler": 2.2, "workers.fused": 2.4, "workers.engine": 2.5,
    "workers.vllm_replica": 2.5, "workers.fit": 2.5, "workers.replica": 2.8, "workers.asked": 2, "workers.core": 2.9,
    "workers.process": 3, "workers.dispatch": 3, "workers.alone": 3, "workers.local": 4, "workers.ray_node": 3,
    "workers.ray_nodes": 2, "workers.ray_cluster": 3.1, "workers.ray_worker": 4.05,
    "workers.ray_fleet": 4.1, "workers.judges": 3, "agent_manager": 4,
    # tests that models write
    "testgen.scopes": 0, "testgen.imports": 0, "testgen.asserting": 0, "testgen.harness": 0, "testgen.told": 0,
    "testgen.packages": 1, "testgen.replies": 1.5, "testgen.sources": 1.5, "testgen.reach": 1.5, "testgen.prompts": 2,
    "testgen.pieces": 2, "testgen.taking": 2.2, "testgen.combine": 2.5, "testgen.files": 3, "testgen.worth": 3,
    "testgen.workload": 2, "testgen.asking": 2.6, "testgen.kept": 3.1, "testgen.weighing": 3.2,
    "testgen.pipeline": 3.6, "testgen.accepting": 2.6, "testgen.tidying": 3.6,
    # how a run is shown
    "watch.lag": 0, "watch.processes": 0, "watch.apart": 0, "watch.memory": 1, "watch.events": 1, "watch.energy": 2.5,
    "watch.host": 2.5, "gpu_monitor": 2, "watch.csv_trace": 2, "watch.logs": 2, "watch.progress": 2, "watch.status": 2,
    "watch.spans": 0.5, "watch.flame": 1.5, "watch.trace": 3, "watch.wandb_login": 1.8, "watch.wandb_run": 1.9,
    "watch.tracking": 2, "watch.snapshot": 2.6, "watch.timeline": 2.6, "watch.report_replies": 2.6,
    "watch.report_words": 2.8, "watch.report_score": 2.9, "watch.report_data": 2.9, "watch.report": 3.1,
    "watch.pages": 2.9, "watch.load_tables": 2.85, "watch.load_words": 2.9, "watch.load_data": 3,
    "watch.load_report": 3.1, "watch.allocations": 0.5, "watch.load_progress": 2.1,
    "resource_monitor": 3,
    "watch.histogram": 0, "watch.outcome_grid": 1, "watch.follow": 2.5, "watch.answers": 2.5,
    "dashboard.words": 0, "dashboard.letters": 1.5, "dashboard.view": 2.8, "dashboard.asked": 2.8,
    "dashboard.machine": 3, "dashboard.replicas": 3, "dashboard.application": 3, "dashboard.board": 3,
    "dashboard.detail": 3, "dashboard.page": 3.2, "dashboard.grid": 3.2, "dashboard.detail_screen": 3.2,
    "dashboard.app": 3.5, "metrics_dashboard": 4,
    # what is checked before a run
    "doctor.finding": 0, "doctor.hostile": 0, "doctor.mutants": 1, "doctor.machine": 4, "doctor.judging": 4,
    "doctor.model": 4.5, "doctor.servers": 4.5,
    # what users call
    "commands.beside": 5, "commands.open_run": 5, "commands.signals": 5, "commands.summary": 5, "commands.session": 5.5,
    "serving.faults": 0, "serving.bodies": 2, "serving.forms": 2, "serving.hanging_up": 0, "serving.pool": 3.5,
    "serving.tally": 3.6, "serving.calls": 3.7, "serving.app": 3.8, "serving.http": 1, "serving.arrivals": 0,
    "serving.load": 0.5, "serving.rows": 2.2, "serving.load_facts": 2.2, "serving.quantiles": 2.2,
    "serving.fits": 2.2, "serving.relations": 2.2, "serving.outliers": 2.5, "serving.ideal": 2.55,
    "serving.measures": 2.6, "serving.law": 2.7, "commands.serve": 5.9, "commands.extractors": 5.6,
    "commands.watching": 5.6, "commands.fleets": 5, "commands.run": 5.8,
    "commands.load_session": 5.65, "commands.load_summary": 5.7, "commands.testgen": 5.75,
    "commands.score": 5.8, "commands.doctor": 5.8,
    "commands.compare": 5.8, "commands.union": 5.8, "commands.report": 5.8, "main": 6,
}  # fmt: skip

MODEL_SIDE = {
    "model_loader", "workers.attention", "workers.embedded",
    "workers.beams", "workers.budget", "workers.cpu_weights", "workers.decoder", "workers.draw", "workers.engine",
    "workers.fit", "workers.fused", "workers.graphs", "workers.native", "workers.paged",
    "workers.paged_attention", "workers.prefill", "workers.sampler",
    "workers.model_card", "workers.separate", "workers.slots", "workers.steps", "workers.stopping", "workers.upload",
    "workers.vllm_replica",
}  # fmt: skip
HOMES: dict[str, Set[str]] = {
    "torch": MODEL_SIDE,
    "transformers": MODEL_SIDE,
    "bitsandbytes": MODEL_SIDE,
    "accelerate": MODEL_SIDE,
    "ray": {"workers.ray_cluster"},
    "aiohttp": {"workers.endpoint_client"},
    "fastapi": {"serving.app", "serving.hanging_up", "serving.http"},
    "uvicorn": {"serving.http"},
    "coverage": {"testgen.harness", "testgen.worth"},
    "pytest": {"testgen.harness"},
    "prometheus_client": {"serving.tally"},
    "vllm": {"workers.vllm_replica"},
    "wandb": {"watch.wandb_run"},
    "textual": {"dashboard.app", "dashboard.detail_screen", "dashboard.grid"},
    "pyinstrument": {"watch.flame"},
    "pynvml": {"gpu_monitor"},
    "psutil": {"watch.host", "doctor.machine", "doctor.model"},
    "jinja2": {"watch.pages", "workers.tokens"},  # the reports' templates; the errors of a chat template
    "scipy": {"serving.fits", "serving.ideal", "serving.quantiles", "serving.relations"},
    "statsmodels": {"serving.relations"},
}
IN_WORKERS = {
    "workers.process",
    "workers.replica",
    "workers.model_card",
}  # started by the coordinator, never imported by it
HEAVY = {"torch", "transformers", "bitsandbytes", "accelerate"}
WAITING = {"asyncio", "threading", "concurrent", "multiprocessing", "subprocess"} | HEAVY
MAY_LOCK = {"bench.syntax"}  # one lock, since warnings.catch_warnings changes the whole process


@dataclass(frozen=True)
class Import:
    """One imported name: "bench.plan.make" of `from bench.plan import make`."""

    name: str
    line: int
    at_once: bool  # when the module is imported, not when a function is called


Tree = Mapping[str, tuple[Import, ...]]  # module -> what it imports


def python_files(root: Path) -> Iterator[Path]:
    """Every .py file of the checkout, relative to it; what is hidden or a run's output is no source."""
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        if not any(part.startswith(".") or part in ("logs", "wandb") for part in inside.parts):
            yield inside


def read(root: Path) -> Tree:
    """The imports of every module under root that has to keep the floors."""
    tree = {}
    for path in python_files(root):
        if path.parts[0] not in OUTSIDE:
            parts = path.with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            tree[module] = tuple(imports(ast.parse((root / path).read_text(encoding="utf-8"), str(path))))
    return tree


def imports(node: ast.AST, at_once: bool = True) -> Iterator[Import]:
    """All imports below a syntax node, those inside functions and under TYPE_CHECKING too."""
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
    """The project's module an imported name comes from; None when it is not ours."""
    parts = name.split(".")
    found = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((module for module in found if module in tree), None)


def edges(tree: Tree) -> Iterator[tuple[str, str, int]]:
    """(importing module, imported module, line), both ours."""
    for module, names in tree.items():
        for name in names:
            if target := module_of(name.name, tree):
                yield module, target, name.line


def unplaced(tree: Tree, floors: Mapping[str, float]) -> list[str]:
    empty = {module.rpartition(".")[0] for module in tree if not tree.get(module.rpartition(".")[0])}  # __init__ files
    return [
        f"{module} has no floor: add it to FLOORS in tests/test_layering.py, above all it imports"
        for module in tree
        if module not in floors and module not in empty
    ]


def upward(tree: Tree, floors: Mapping[str, float]) -> list[str]:
    return [
        f"{module}:{line} imports {target}, but stands on floor {floors[module]:g} and {target} on {floors[target]:g}"
        for module, target, line in edges(tree)
        if module in floors and target in floors and floors[target] >= floors[module]
    ]


def away_from_home(tree: Tree, homes: Mapping[str, Set[str]]) -> list[str]:
    return [
        f"{module}:{name.line} imports {package}, whose home is {', '.join(sorted(homes[package]))}"
        for module, names in tree.items()
        for name in names
        if (package := name.name.split(".")[0]) in homes and module not in homes[package]
    ]


def reachable(tree: Tree, start: str, stop: Set[str]) -> set[str]:
    """Every module that importing or running `start` may import, not looking into `stop`."""
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
    return [
        f"{module}:{name.line} imports {name.name} as soon as it is imported, in the coordinator's process"
        for module in sorted(modules)
        for name in tree[module]
        if name.at_once and name.name.split(".")[0] in HEAVY
    ]


@cache
def ours() -> Tree:
    return read(ROOT)


def expect_none(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


def test_every_module_has_a_floor() -> None:
    expect_none(unplaced(ours(), FLOORS))


def test_modules_import_only_from_lower_floors() -> None:
    expect_none(upward(ours(), FLOORS))


def test_heavy_packages_stay_at_home() -> None:
    expect_none(away_from_home(ours(), HOMES))


def test_nothing_the_coordinator_may_import_brings_torch_along() -> None:
    expect_none(heavy_at_once(ours(), reachable(ours(), "main", IN_WORKERS)))


def test_bench_holds_rules_and_waits_for_nothing() -> None:
    expect_none([
        f"{module}:{name.line} imports {name.name}; bench holds records and rules, no waiting and no models"
        for module, names in ours().items()
        for name in names
        if module.startswith("bench") and (package := name.name.split(".")[0]) in WAITING
        if not (module in MAY_LOCK and package == "threading")
    ])  # fmt: skip


def test_imports_name_their_module_from_the_root() -> None:
    expect_none([
        f"{module}:{name.line} imports {name.name}; write the path from the root"
        for module, names in ours().items()
        for name in names
        if name.name.startswith(".")
    ])  # fmt: skip


def test_files_keep_to_one_subject() -> None:
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in python_files(ROOT)}
    expect_none([
        f"{path} has {lines} lines, more than {MAX_LINES}; split it by subject"
        for path, lines in lengths.items()
        if lines > MAX_LINES
    ])  # fmt: skip
