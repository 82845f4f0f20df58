"""Packages import only from lower floors, each heavy library is imported in one place, files stay small."""

import subprocess
from collections import Counter
from collections.abc import Set
from functools import cache

from tests.support.checkout import ROOT
from tests.support.floors import (
    DOOR,
    FLOORS,
    HEAVY,
    Tree,
    away_from_home,
    classes,
    cycles,
    heavy_at_once,
    module_of,
    python_files,
    reachable,
    read,
    unplaced,
    upward,
)

MAX_LINES, MAX_TEST_LINES = 300, 330  # a longer file has two subjects
MAX_MODULES = 32  # in one folder
MAX_ROOT = 24  # entries of the root, without dot files

MODEL_SIDE = {"model_loader", "swarmeval.engine", "swarmeval.doctor.model_probe", "swarmeval.workers.vllm_replica"}
HOMES: dict[str, Set[str]] = {
    "torch": MODEL_SIDE,
    "transformers": MODEL_SIDE,
    "bitsandbytes": MODEL_SIDE,
    "accelerate": MODEL_SIDE,
    "ray": {"swarmeval.workers.ray.cluster"},
    "aiohttp": {"swarmeval.workers.endpoint.client"},
    "fastapi": {"swarmeval.serving.app", "swarmeval.serving.disconnects"},
    "uvicorn": {"swarmeval.serving.connection", "swarmeval.serving.http"},
    "coverage": {"swarmeval.testgen.harness", "swarmeval.testgen.worth"},
    "pytest": {"swarmeval.testgen.harness"},
    "prometheus_client": {"swarmeval.serving.metrics", "swarmeval.serving.judge.metrics"},
    "vllm": {"swarmeval.workers.vllm_replica"},
    "wandb": {"swarmeval.monitor.tracking.wandb_run"},
    "mlflow": {"swarmeval.monitor.tracking.mlflow_run"},
    "trackio": {"swarmeval.monitor.tracking.trackio_run"},
    "opentelemetry": {"swarmeval.monitor.tracing.otlp"},
    "textual": {"swarmeval.dashboard"},
    "pyinstrument": {"swarmeval.monitor.tracing.flame"},
    "pynvml": {"gpu_monitor"},
    "psutil": {"swarmeval.monitor.host", "swarmeval.doctor"},
    "jinja2": {"swarmeval.report.pages", "swarmeval.engine.text.tokens"},  # pages; the errors of a chat template
    "scipy": {"swarmeval.loadtest", "swarmeval.scores"},
    "statsmodels": {"swarmeval.loadtest"},
    "pandas": {"swarmeval.library.frame", "swarmeval.library.run"},  # the second names its type only
}
# The coordinator starts these as separate processes and never imports them.
IN_WORKERS = {"swarmeval.workers.process", "swarmeval.workers.replica", "swarmeval.doctor.model_probe"}
# Packages of records and rules: they import neither async nor model libraries.
RULES = (
    "swarmeval.records", "swarmeval.requests", "swarmeval.settings", "swarmeval.extraction", "swarmeval.tasks",
    "swarmeval.scores", "swarmeval.runs",
)  # fmt: skip
LIBRARY = "swarmeval/library/"
WAITING = {"asyncio", "threading", "concurrent", "multiprocessing", "subprocess"} | HEAVY
MAY_LOCK = {"swarmeval.extraction.syntax"}  # one lock, since warnings.catch_warnings changes the whole process


@cache
def ours() -> Tree:
    return read(ROOT)


def expect_none(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


def test_every_module_belongs_to_a_package_with_a_floor() -> None:
    expect_none(unplaced(ours(), FLOORS))


def test_every_floor_has_a_package_on_it() -> None:
    expect_none([f"{name} is in FLOORS and nowhere else" for name in FLOORS if name not in ours()])


def test_packages_import_only_from_lower_floors() -> None:
    expect_none(upward(ours(), FLOORS))


def test_no_files_import_each_other_in_a_circle() -> None:
    expect_none(cycles(ours()))


def test_heavy_packages_stay_at_home() -> None:
    expect_none(away_from_home(ours(), HOMES))


def test_nothing_the_coordinator_may_import_brings_torch_along() -> None:
    expect_none(heavy_at_once(ours(), reachable(ours(), "main", IN_WORKERS)))


def test_a_run_knows_no_load_test() -> None:
    known = reachable(ours(), "swarmeval.commands.run", set())
    assert "swarmeval.session.session" in known
    expect_none([name for name in known if name.startswith(("swarmeval.loadtest", "swarmeval.testgen"))])


def test_records_and_rules_wait_for_nothing() -> None:
    expect_none([
        f"{module}:{name.line} imports {name.name}; here are records and rules, no waiting and no models"
        for module, names in ours().items()
        for name in names
        if module.startswith(RULES) and (package := name.name.split(".")[0]) in WAITING
        if not (module in MAY_LOCK and package == "threading")
    ])  # fmt: skip


def test_imports_name_their_module_from_the_root() -> None:
    expect_none([
        f"{module}:{name.line} imports {name.name}; write the path from the root"
        for module, names in ours().items()
        for name in names
        if name.name.startswith(".")
    ])  # fmt: skip


def test_no_two_classes_share_a_name() -> None:
    inside = {
        name: [file for file in files if not file.startswith(LIBRARY)]  # its names are for other programs
        for name, files in classes(ROOT).items()
    }
    expect_none([f"{name}: {', '.join(files)}" for name, files in inside.items() if len(files) > 1])


def test_the_project_imports_itself_by_its_modules() -> None:
    expect_none([
        f"{module}:{name.line} imports {name.name}; name the module that defines it"
        for module, names in ours().items()
        for name in names
        if module_of(name.name, ours()) == DOOR
    ])  # fmt: skip


def test_files_keep_to_one_subject() -> None:
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in python_files(ROOT)}
    expect_none([
        f"{path} has {lines} lines, more than {most}; split it by subject"
        for path, lines in lengths.items()
        if lines > (most := MAX_TEST_LINES if path.parts[0] == "tests" else MAX_LINES)
    ])  # fmt: skip


def test_no_folder_holds_more_modules_than_one_can_look_over() -> None:
    folders = Counter(path.parent for path in python_files(ROOT) if path.parts[0] not in ("tests",))
    expect_none([f"{folder} has {count} modules" for folder, count in folders.items() if count > MAX_MODULES])


def test_the_root_stays_small() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    entries = {path.partition("/")[0] for path in listed.splitlines() if not path.startswith(".")}
    assert {"main.py", "swarmeval"} <= entries
    assert len(entries) <= MAX_ROOT, sorted(entries)
