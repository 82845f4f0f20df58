"""The table of faults: written from the outcomes of a test run, and compared with the existing tests."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.faults import exchanged, missing, outcomes_of, read, table
from tests.support.checkout import ROOT

PAGE = """# Contributing

| fault | where it strikes | what holds after | test | seen |
|---|---|---|---|---|
| old | here | nothing | gone (`test_x.py`) | passed |

Seen: 1 cases in 2 s.

## After
"""


def row(**facts: Any) -> dict[str, Any]:
    return {
        "fault": "killed", "where": "at work", "holds": "all", "test": "tests/test_x.py::test_it_goes_on", "cases": 1,
        "seconds": 1.25, "outcomes": {"passed": 1}, "reasons": [], **facts,
    }  # fmt: skip


def test_a_written_table_misses_nothing_and_the_page_around_it_stays() -> None:
    page = exchanged(PAGE, table([row()]))
    assert "| killed | at work | all | it goes on (`test_x.py`) | passed |\n" in page
    assert page.startswith("# Contributing\n\n| fault")
    assert page.endswith("\n\n## After\n")
    assert "| old |" not in page
    assert missing(page, [row()]) == []
    assert exchanged(page, table([row()])) == page


def test_what_differs_is_named_and_outcomes_are_not_compared() -> None:
    page = exchanged(PAGE, table([row(), row(fault="stopped")]))
    assert missing(page, [row(outcomes={}), row(fault="burnt")]) == [
        "lacks | burnt | at work | all | it goes on (`test_x.py`) |",
        "has, and no test does: | stopped | at work | all | it goes on (`test_x.py`) |",
    ]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "passed"),
        ({"cases": 3, "outcomes": {"passed": 3}}, "3 passed"),
        ({"cases": 3, "outcomes": {"passed": 2, "failed": 1}}, "2 passed, 1 failed"),
        ({"outcomes": {"skipped": 1}, "reasons": ["Skipped: needs unshare"]}, "skipped (needs unshare)"),
        ({"outcomes": {}}, "not run"),
    ],
)
def test_what_was_seen_is_said_in_words(facts: dict[str, Any], words: str) -> None:
    assert outcomes_of(row(**facts)) == words


MARKED = """
import pytest

@pytest.mark.fault("burnt", "twice", "ashes")
@pytest.mark.parametrize("n", [1, 2, 3])
def test_it(n):
    if n == 2:
        pytest.skip("no fire")
    assert n != 3

def test_of_nothing():
    pass
"""


@pytest.mark.slow
def test_a_run_of_marked_tests_gives_a_row_with_its_outcomes(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(MARKED)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = fault\n")
    words = [
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        "-c",
        str(tmp_path / "pytest.ini"),
    ]
    command = [sys.executable, "-m", "pytest", *words, "--fault-table", str(tmp_path / "table.json"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    (found,) = read(tmp_path / "table.json")
    assert found["seconds"] >= 0
    assert {key: value for key, value in found.items() if key != "seconds"} == {
        "fault": "burnt", "where": "twice", "holds": "ashes", "test": "test_it.py::test_it", "cases": 3,
        "outcomes": {"passed": 1, "skipped": 1, "failed": 1}, "reasons": ["Skipped: no fire"],
    }  # fmt: skip
