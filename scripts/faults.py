"""Writes into docs/faults.md which faults the tests inject, where they strike, what holds after, and what was seen.

.venv/bin/python -m scripts.faults [--check | --from FILE]

Runs the tests marked `fault` and makes the table from their outcomes, or with --from from those of an earlier run
(pytest --fault-table FILE). With --check, writes nothing and compares the table with the existing tests.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/faults.md"
HEAD = "| fault | where it strikes | what holds after | test | seen |"
LAST = "Seen: "  # begins the line below the table
MARK = "mark.fault("

Row = dict[str, Any]


def marked() -> list[str]:
    """Test files that inject faults. Collecting all the others would take long."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in paths if MARK in path.read_text(encoding="utf-8")]


def of_tests(*words: str) -> tuple[list[Row], int]:
    """The rows that pytest reports for the fault tests, and its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faults.json"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "fault", "--fault-table", str(path), *words, *marked()]
        done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr if not words else subprocess.DEVNULL, check=False)
        return read(path), done.returncode


def read(path: Path) -> list[Row]:
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def line(row: Row) -> str:
    """One row of the table, without its last column, the outcome."""
    name = row["test"].rpartition("::")[2].removeprefix("test_").replace("_", " ")
    file = row["test"].partition("::")[0].removeprefix("tests/")
    return f"| {row['fault']} | {row['where']} | {row['holds']} | {name} (`{file}`) |"


def outcomes_of(row: Row) -> str:
    """The outcomes of a row's cases in words."""
    counts = [f"{count if row['cases'] > 1 else ''} {outcome}".strip() for outcome, count in row["outcomes"].items()]
    reasons = "; ".join(dict.fromkeys(row["reasons"])).removeprefix("Skipped: ")
    return (", ".join(counts) or "not run") + (f" ({reasons})" if reasons else "")


def table(rows: Iterable[Row]) -> str:
    """The whole table, and a line that names the machine."""
    rows = list(rows)
    cases, seconds = sum(row["cases"] for row in rows), sum(row["seconds"] for row in rows)
    cores = len(os.sched_getaffinity(0))
    where = f"Python {platform.python_version()} on {platform.system()}, {cores} cores"
    lines = [f"{line(row)} {outcomes_of(row)} |" for row in rows]
    return "\n".join([HEAD, "|---|---|---|---|---|", *lines, "", f"{LAST}{cases} cases in {seconds:.0f} s, {where}."])


def exchanged(page: str, new: str) -> str:
    """The page with its table replaced."""
    start = page.index(HEAD)
    end = page.index("\n", page.index(f"\n{LAST}", start) + 1)
    return page[:start] + new + page[end:]


def missing(page: str, rows: Iterable[Row]) -> list[str]:
    """Missing and superfluous rows of the page's table, one line each. Outcomes are not compared."""
    start = page.index(HEAD)
    written = page[start : page.index(f"\n{LAST}", start)].splitlines()[2:]
    listed = {f"{row.removesuffix('|').rpartition('|')[0].strip()} |" for row in written if row}
    expected = {line(row) for row in rows}
    return [f"lacks {row}" for row in sorted(expected - listed)] + [
        f"has, and no test does: {row}" for row in sorted(listed - expected)
    ]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the table misses a test")
    parser.add_argument("--from", dest="file", type=Path, metavar="FILE", help="the --fault-table of an earlier run")
    options = parser.parse_args(arguments)
    page = PAGE.read_text(encoding="utf-8")
    if options.check:
        differences = missing(page, of_tests("--collect-only")[0])
        for difference in differences:
            sys.stderr.write(f"docs/faults.md {difference}\n")
        if differences:
            sys.stderr.write("run .venv/bin/python -m scripts.faults\n")
        return 1 if differences else 0
    rows, code = (read(options.file), 0) if options.file else of_tests()
    PAGE.write_text(exchanged(page, table(rows)), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
