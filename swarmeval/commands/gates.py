"""The flags --fail-under and --junit: results for continuous integration, after a run or `score`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swarmeval.errors import ConfigError
from swarmeval.files import make_folder, replaced
from swarmeval.scores.gates import FAILED, Gate, gate, missed
from swarmeval.scores.junit import junit

INTERRUPTED = 130


def gates_of(options: argparse.Namespace) -> tuple[Gate, ...]:
    """The gates that the flags state. Raises ConfigError, before anything is created."""
    try:
        return tuple(gate(text) for text in options.fail_under)
    except ValueError as error:
        raise ConfigError(f"--fail-under: {error}") from None


def exit_code(code: int, gates: Sequence[Gate], score: dict[str, Any], folder: Path, junit_file: str | None) -> int:
    """Write the JUnit file, and print the gates that the score misses; return the exit code of the command.

    An interrupted session has no score yet, so its code stays. Raises OutputError if the file cannot be written.
    """
    if code == INTERRUPTED:
        return code
    if junit_file is not None:
        tasks = json.loads((folder / "task_summary.json").read_text(encoding="utf-8"))
        _write(Path(junit_file), junit(score, tasks, gates))
    lines = list(missed(gates, score))
    for line in lines:
        print(f"swarmeval: {line}", file=sys.stderr)
    return FAILED if lines else code


def _write(path: Path, text: str) -> None:
    make_folder(path.parent)
    with replaced(path) as file:
        file.write(text)
