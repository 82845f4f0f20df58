"""Our own programs in the sandbox: they stream their results and see only the packages shown to them."""

import asyncio
from pathlib import Path

import pytest

from swarmeval.records import Execution, Outcome, Program
from swarmeval.sandbox.layers.places import library_places, places
from swarmeval.sandbox.runner import Sandbox
from tests.support.sandbox_runs import MEMORY_MB, TIMEOUT_S


def told(
    *programs: str, shown: list[str] | None = None, timeout_s: float = TIMEOUT_S, mode: str = "auto"
) -> list[tuple[Execution, str]]:
    async def session() -> list[tuple[Execution, str]]:
        async with Sandbox(1, timeout_s, MEMORY_MB, mode, shown=shown) as sandbox:
            return [await sandbox.stream(program, "given") for program in programs]

    return asyncio.run(session())


@pytest.mark.slow
def test_all_that_a_program_tells_is_given_back_and_how_it_ended() -> None:
    found = told(
        "def stream(data, write): write(data.encode() + b'\\0' + b'x' * 300_000)",
        "def stream(data, write):\n    write(b'first')\n    1 / 0",
        "def stream(data, write):\n    write(b'first')\n    import os\n    os._exit(0)",
        "def stream(data, write):\n    write(b'first')\n    while True: pass",
        "def stream(data, write):\n    while True: write(b'x' * 100_000)",
        "def other(): pass",
        "def stream(:",
    )
    ends = [execution.outcome for execution, _ in found]
    assert ends == [
        Outcome.PASSED, Outcome.RAISED, Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.CRASHED, Outcome.RAISED,
        Outcome.BAD_SYNTAX,
    ]  # fmt: skip
    texts = [text for _, text in found]
    assert texts[0] == "given\0" + "x" * 300_000
    assert texts[1:3] == ["first", "first"]
    assert texts[3].startswith("firstStack (most recent call first):\n")
    assert found[1][0].detail == "ZeroDivisionError: division by zero (line 3: 1 / 0)"


SEES = """
def stream(data, write):
    import importlib.util, os, zipfile
    found = []
    for name in ("numpy", "pytest", "yaml", "made"):
        try:
            spec = importlib.util.find_spec(name)
            open(spec.origin).read(1)
            found.append(name)
        except (OSError, AttributeError, ImportError):
            pass
    write(" ".join(found).encode())
"""


@pytest.mark.slow
def test_only_what_is_shown_of_what_is_installed_can_be_read(tmp_path: Path) -> None:
    import numpy as np

    made = tmp_path / "made"
    made.mkdir()
    (made / "__init__.py").write_text("x = 1")
    folder = str(Path(np.__file__).parent)
    program = f"import sys\nsys.path.append({str(tmp_path)!r})\n{SEES}"
    (only,), (everything,) = told(program, shown=[folder, str(made)]), told(program)
    assert only[1] == "numpy made"
    assert everything[1] == "numpy pytest yaml"


@pytest.mark.slow
def test_what_is_shown_cannot_be_changed(tmp_path: Path) -> None:
    (tmp_path / "shown").write_text("x")
    program = (
        f"def stream(data, write):\n    try: open({str(tmp_path / 'shown')!r}, 'w')\n"
        "    except OSError: write(b'refused')"
    )
    assert told(program, shown=[str(tmp_path / "shown")])[0][1] == "refused"
    assert (tmp_path / "shown").read_text() == "x"


@pytest.mark.slow
def test_programs_run_as_ever_where_something_is_shown() -> None:
    async def session() -> list[Outcome]:
        async with Sandbox(1, TIMEOUT_S, MEMORY_MB, shown=[]) as sandbox:
            programs = ["import json", "import yaml", "assert False"]
            return [(await sandbox.run(Program(program))).outcome for program in programs]

    assert asyncio.run(session()) == [Outcome.PASSED, Outcome.RAISED, Outcome.WRONG_ANSWER]


def test_without_anything_shown_the_places_are_those_of_judging() -> None:
    plain, narrow = places(), places([])
    assert plain.shown == ()
    assert set(plain.hidden).isdisjoint(library_places())
    assert narrow.readable == plain.readable
    assert list(narrow.hidden) == library_places()
