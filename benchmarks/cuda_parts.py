"""A step of cuda_check in its own process: parts that are measured one after the other, and a line for each.

A part that fails, or that needs a package which is not installed, says so in its line; the next one goes on.
"""

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from swarmeval.engine.out_of_memory import is_out_of_memory

# Errors of a part. Others end the step's process, which the line of the step tells.
FAULTS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError,
    ValueError, subprocess.SubprocessError,
)  # fmt: skip

PATIENCE = 4  # factor of all limits in a rehearsal: the machine may be busy

Found = Mapping[str, Any]  # what a part measured; a part that checks something has "passed"


class Absent(Exception):
    """Raised by a part that lacks something; str() names it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One measurement of a step."""

    name: str
    work: Callable[[], Found]
    needs: tuple[str, ...] = ()  # packages, by the names of their modules


def run(parts: Iterable[Part], lines: TextIO) -> None:
    """Run the parts; write one JSON line for each: its name, its seconds and what it found."""
    for part in parts:
        began = time.perf_counter()
        found = found_by(part)
        line = json.dumps({"part": part.name, "seconds": round(time.perf_counter() - began, 2), **found})
        lines.write(line + "\n")
        lines.flush()
        print(f"  {line}", file=sys.stderr, flush=True)


def found_by(part: Part) -> Found:
    """The result of a part; "needs" or "failed" if it has none."""
    if absent := missing(part.needs):
        return {"needs": absent}
    try:
        return part.work()
    except Absent as absence:
        return {"needs": [str(absence)]}
    except FAULTS as error:
        if is_out_of_memory(error):
            return {"needs": ["more memory"]}
        return {"failed": f"{type(error).__name__}: {error}".strip()[:500]}


def missing(modules: Iterable[str]) -> list[str]:
    """The modules that cannot be found here."""
    return [name for name in modules if importlib.util.find_spec(name) is None]
