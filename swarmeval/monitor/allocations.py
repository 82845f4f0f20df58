"""Finds the lines of Python that hold the most memory, with tracemalloc. Keeps the snapshot with the highest total.

Slows down every allocation, so only traced runs use it. Knows nothing about runs.
"""

import ast
import re
import tracemalloc
from collections import defaultdict
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from swarmeval.extraction.syntax import parse
from swarmeval.location import ROOT, own_paths, requirements

SOURCE = "tracemalloc of the coordinator, at the snapshot with the most memory"
MOST_LINES = 2000
OTHERS = re.compile(r"^.*/(?:site-packages|lib/python3\.\d+)/")
INSTRUMENTS = [  # excluded from the measurement
    tracemalloc.Filter(False, pattern) for pattern in (__file__, tracemalloc.__file__, "*/pyinstrument/*")
]

AllocatedLines = tuple[tuple[str, int, int], ...]  # (file, line, bytes)


class Allocations:
    """Traces allocations within its context. Call look() regularly, and read the results afterwards."""

    def __init__(self) -> None:
        self._most = -1
        self._lines: AllocatedLines = ()

    def __enter__(self) -> Self:
        tracemalloc.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tracemalloc.stop()

    def look(self) -> None:
        """Take a snapshot if current memory is the highest so far. Takes about 0.1 s."""
        current, _ = tracemalloc.get_traced_memory()
        if current <= self._most:
            return
        self._most = current
        statistics = tracemalloc.take_snapshot().filter_traces(INSTRUMENTS).statistics("lineno")
        self._lines = tuple(
            (display_name(one.traceback[0].filename), one.traceback[0].lineno, one.size)
            for one in statistics[:MOST_LINES]
        )

    @property
    def lines(self) -> AllocatedLines:
        """(file, line, bytes), largest first. Our own files have paths within the project."""
        return self._lines

    def functions(self) -> tuple[tuple[str, int], ...]:
        """Totals per function of this project, largest first: ("swarmeval/loadtest/generator.py: under", bytes)."""
        sums: dict[str, int] = defaultdict(int)
        for file, line, size in self._lines:
            if _is_ours(file):
                sums[f"{file}: {function_at(file, line)}"] += size
        return tuple(sorted(sums.items(), key=lambda one: -one[1]))


def display_name(filename: str) -> str:
    """Shorten a path: relative to the project, to site-packages or to the standard library; else unchanged."""
    path = Path(filename)
    if path.is_relative_to(ROOT) and "site-packages" not in path.parts:
        return str(path.relative_to(ROOT))
    return OTHERS.sub("", filename)


def _is_ours(file: str) -> bool:
    """Whether a file belongs to this project: any file of a checkout, or a file of the installed wheel."""
    if Path(file).is_absolute() or not (ROOT / file).is_file():
        return False
    return requirements() is None or any((ROOT / file).is_relative_to(path) for path in own_paths())


def function_at(file: str, line: int) -> str:
    """The innermost function or class of a project file that contains a line; "module level" if there is none."""
    enclosing = [(first, name) for first, last, name in _spans(file) if first <= line <= last]
    return max(enclosing)[1] if enclosing else "module level"


@cache
def _spans(file: str) -> tuple[tuple[int, int, str], ...]:
    """(first line, last line, dotted name) of each definition in a file."""
    spans: list[tuple[int, int, str]] = []

    def walk(node: ast.AST, above: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = above
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{above}.{child.name}" if above else child.name
                spans.append((child.lineno, child.end_lineno or child.lineno, name))
            walk(child, name)

    walk(parse((ROOT / file).read_text(encoding="utf-8")), "")
    return tuple(spans)
