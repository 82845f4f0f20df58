"""Prints the requirements of extras of pyproject.toml, one per line. Needs no installed package.

    .venv/bin/python scripts/extras.py [NAME ...]        without names: all that scripts/setup --dev installs

Exit codes: 0 printed; 2 the user must change something.
"""

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
LEFT_OUT = ("gptqmodel",)  # by scripts/setup --dev and scripts/lock: it pins an older numpy


def main(names: Sequence[str]) -> int:
    """Print the requirements of these extras; return the exit code."""
    extras = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for name in names:
        if name not in extras:
            sys.stderr.write(f"scripts/extras.py: {name!r} is not an extra; use one of {', '.join(extras)}\n")
            return 2
    chosen = names or [name for name in extras if name not in LEFT_OUT]
    sys.stdout.writelines(f"{requirement}\n" for name in chosen for requirement in extras[name])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
