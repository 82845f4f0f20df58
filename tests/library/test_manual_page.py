"""The examples of docs/library.md run as they are printed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.manual import DOCS, blocks
from tests.support.run_folders import answers, finished_run


@pytest.mark.slow
def test_the_examples_print_what_the_page_shows(tmp_path: Path) -> None:
    for name, passes in (("swarm", 1), ("before", 0), ("after", 1)):
        finished_run(tmp_path / "logs" / name, answers(("one", "another"), passes))
    page = blocks(DOCS / "library.md")
    programs = [block.text for block in page if block.kind == "python"]
    (shown,) = (block.text for block in page if block.kind == "text")
    found = subprocess.run(
        [sys.executable, "-c", "\n".join(programs)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    first, _, rest = found.stdout.lstrip("\n").partition("0/HumanEval/0/0/0 PASSED\n")
    assert first == shown
    assert rest.startswith("0/HumanEval/1/0/0 PASSED\n1.0 (")
    assert "20270115-080000-abcdef 0.5\n" in rest
