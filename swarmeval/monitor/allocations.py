"""Which lines of Python hold memory, by tracemalloc: of many looks the one that found most.

Costs every allocation some time, so that only traced runs have it. Knows no run.
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

SOURCE = "tracemalloc, of the coordinator, at the moment of most memory among those looked at"
MOST_LINES = 2000
OTHERS = re.compile(r"^.*/(?:site-packages|lib/python3\.\d+)/")
INSTRUMENTS = [  # what measures is no part of what is measured
    tracemalloc.Filter(False, pattern) for pattern in (__file__, tracemalloc.__file__, "*/pyinstrument/*")
]

AllocatedLines = tuple[tuple[str, int, int], ...]  # (file, line, bytes)


class Allocations:
    """The context traces; look() now and then, and say what was found afterwards."""

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
        """Keep what is held now, if it is the most so far. Takes some 0.1 s."""
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
        """The largest first; files of ours by their path in the project."""
        return self._lines

    def functions(self) -> tuple[tuple[str, int], ...]:
        """The same by function of ours: ("swarmeval/loadtest/generator.py: under", bytes), the largest first."""
        sums: dict[str, int] = defaultdict(int)
        for file, line, size in self._lines:
            if _is_ours(file):
                sums[f"{file}: {function_at(file, line)}"] += size
        return tuple(sorted(sums.items(), key=lambda one: -one[1]))


def display_name(filename: str) -> str:
    """Within the project its path in it, of a package or of Python's own what is behind their folder; else as it is."""
    path = Path(filename)
    if path.is_relative_to(ROOT) and "site-packages" not in path.parts:
        return str(path.relative_to(ROOT))
    return OTHERS.sub("", filename)


def _is_ours(file: str) -> bool:
    """Every file of a checkout is ours; in site-packages, only those that the wheel holds."""
    if Path(file).is_absolute() or not (ROOT / file).is_file():
        return False
    return requirements() is None or any((ROOT / file).is_relative_to(path) for path in own_paths())


def function_at(file: str, line: int) -> str:
    """The innermost function or class of a file of ours that holds a line; "module level" where none does."""
    enclosing = [(first, name) for first, last, name in _spans(file) if first <= line <= last]
    return max(enclosing)[1] if enclosing else "module level"


@cache
def _spans(file: str) -> tuple[tuple[int, int, str], ...]:
    """(first line, last line, dotted name) of each definition of a file."""
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
