"""What the programs of other harnesses' rules showed, kept as it is found: a comparison that was interrupted goes on.

Knows no rules and no replies.
"""

import contextlib
import hashlib
import json
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.errors import OutputError
from bench.files import cannot_write
from bench.records import Outcome

NAME = "extractors.jsonl"


def key_of(task_id: str, completion: str) -> str:
    """What names a program within a run, whose limits are the same for all."""
    return hashlib.sha256(f"{task_id}\0{completion}".encode(errors="surrogatepass")).hexdigest()


class OtherVerdicts:
    """Outcomes by the keys of their programs: read from the run folder, and each written there at once."""

    def __init__(self, folder: Path) -> None:
        """Raises OutputError when the file cannot be read or written."""
        self._path = folder / NAME
        try:
            found = self._path.read_bytes() if self._path.exists() else b""
            whole = found[: found.rfind(b"\n") + 1]  # a crash can tear only the last line
            self._outcomes = dict(map(_read, whole.splitlines()))
            self._file = self._path.open("ab")
            self._file.truncate(len(whole))
        except OSError as error:
            raise cannot_write(self._path, error) from None
        except (ValueError, TypeError, LookupError) as error:
            raise OutputError(f"{self._path}: holds a line that is no verdict ({error}); move it away") from None

    def __contains__(self, key: str) -> bool:
        return key in self._outcomes

    def __getitem__(self, key: str) -> Outcome:
        return self._outcomes[key]

    def add(self, key: str, outcome: Outcome) -> None:
        """Raises OutputError when it cannot be written."""
        self._outcomes[key] = outcome
        try:
            self._file.write(json.dumps({"program": key, "outcome": outcome}).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise cannot_write(self._path, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # what could not be written was said already
            self._file.close()


def _read(line: bytes) -> tuple[str, Outcome]:
    found = json.loads(line)
    return found["program"], Outcome(found["outcome"])
