"""Examines another Python interpreter: its version and its packages. Imports none of these packages."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from swarmeval.errors import ConfigError

LEAST = (3, 8)
LIMIT_S = 60.0
VERSION = "import sys; print('%d.%d.%d' % tuple(sys.version_info[:3]))"  # runs in Python 2 as well
PACKAGES = (
    "import json; from importlib.metadata import distributions; "
    "print(json.dumps({one.metadata['Name']: one.version for one in distributions() if one.metadata['Name']}))"
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python interpreter and the packages that it imports."""

    path: str  # absolute; the link of a virtual environment is not resolved
    version: str
    packages: dict[str, str]  # name -> version


def interpreter(path: str) -> Interpreter:
    """Examine the interpreter at a path. Raises ConfigError in one line if programs cannot run under it."""
    found = shutil.which(path)
    if found is None:
        raise _refused(path, "is not an executable file" if Path(path).exists() else "does not exist")
    where = os.path.abspath(found)  # noqa: PTH100 (a pathlib path would be resolved)
    version = _answer(where, "-E", "-s", "-c", VERSION)
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise _refused(path, "is not a Python interpreter")
    if tuple(map(int, version.split(".")[:2])) < LEAST:
        raise _refused(path, f"is Python {version}")
    try:
        packages = json.loads(_answer(where, "-I", "-c", PACKAGES))
    except ValueError:
        raise _refused(path, "cannot list its packages") from None
    return Interpreter(where, version, dict(sorted(packages.items())))


def commands_with(judge_python: str | None) -> dict[str, str]:
    """The commands to use instead of the toolchains' own, by language: none if `judge_python` is None.

    Raises ConfigError if programs cannot run under it.
    """
    return {} if judge_python is None else {"python": interpreter(judge_python).path}


def _refused(path: str, fault: str) -> ConfigError:
    least = ".".join(map(str, LEAST))
    return ConfigError(
        f"judge_python is {path!r}, which {fault}; name a Python {least} or newer (docs/bigcodebench.md)"
    )


def _answer(*words: str) -> str:
    """The output of a command; "" if it fails."""
    try:
        done = subprocess.run(
            words, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
