"""Files that compare extraction rules: extractors.json has scores per rule, extractors.jsonl the verdicts behind them.

Knows none of the rules and judges nothing.
"""

import contextlib
import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from swarmeval.errors import DataError, OutputError
from swarmeval.files import cannot_write, replaced
from swarmeval.records import Outcome, parse_job_id
from swarmeval.scores.intervals import Interval, of_counts
from swarmeval.scores.stats import mean_pass_at_k

NAME = "extractors.json"
VERDICTS = "extractors.jsonl"  # verdicts so far, so that an interrupted comparison can resume
SHOWN = 6  # tasks listed in one line


@dataclass(frozen=True, slots=True)
class UnderRule:
    """The score of the replies under one extraction rule."""

    name: str
    replies: int | None  # None, like the interval, in files of earlier versions
    pass_at_1: float
    interval: Interval | None
    passed: frozenset[str]  # job ids


def under_rule(name: str, replies: Collection[str], passed: frozenset[str]) -> UnderRule:
    """Score one rule; `replies` and `passed` are job ids. Raises ValueError without a reply."""
    counts: dict[str, tuple[int, int]] = {}
    for job_id in replies:
        task_id = parse_job_id(job_id).task_id
        answers, passes = counts.get(task_id, (0, 0))
        counts[task_id] = (answers + 1, passes + (job_id in passed))
    each = list(counts.values())
    return UnderRule(name, len(replies), mean_pass_at_k(each, 1), of_counts(each, [c / n for n, c in each]), passed)


def write(folder: Path, rows: Iterable[UnderRule]) -> None:
    """Write extractors.json. Raises OutputError."""
    with replaced(folder / NAME) as file:
        json.dump({
            one.name: {
                "pass@1": one.pass_at_1, "pass@1_interval": one.interval, "replies": one.replies,
                "passed": sorted(one.passed),
            }
            for one in rows
        }, file, indent=2)  # fmt: skip
        file.write("\n")


def read(folder: Path) -> list[UnderRule]:
    """Read one row per rule, ours first; empty if the file does not exist. Raises DataError for an invalid file."""
    path = folder / NAME
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
        return [
            UnderRule(
                name,
                None if (replies := one.get("replies")) is None else int(replies),
                float(one["pass@1"]),
                None if (bounds := one.get("pass@1_interval")) is None else (float(bounds[0]), float(bounds[1])),
                frozenset(parse_job_id(job_id).job_id for job_id in one["passed"]),
            )
            for name, one in scores.items()
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise DataError(f"{path}: not a valid comparison of rules ({error}); move the file away") from None


def tasks_of(jobs: Collection[str]) -> str:
    """List the tasks of some jobs in one line: the first SHOWN names and the number of the others."""
    names = sorted({parse_job_id(job_id).task_id for job_id in jobs}, key=lambda task: (len(task), task))
    more = f", and {len(names) - SHOWN} more tasks" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def key_of(task_id: str, completion: str) -> str:
    """Key of a program within a run, in which all programs have the same limits."""
    return hashlib.sha256(f"{task_id}\0{completion}".encode(errors="surrogatepass")).hexdigest()


class OtherVerdicts:
    """Outcomes by program key, read from the run folder. New outcomes are written there immediately."""

    def __init__(self, folder: Path) -> None:
        """Read the file. Raises OutputError if it cannot be read or written."""
        self._path = folder / VERDICTS
        try:
            content = self._path.read_bytes() if self._path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]  # a crash can tear only the last line
            self._outcomes = dict(map(_read, whole.splitlines()))
            self._file = self._path.open("ab")
            self._file.truncate(len(whole))
        except OSError as error:
            raise cannot_write(self._path, error) from None
        except (ValueError, TypeError, LookupError) as error:
            raise OutputError(f"{self._path}: contains an invalid verdict ({error}); move the file away") from None

    def __contains__(self, key: str) -> bool:
        return key in self._outcomes

    def __getitem__(self, key: str) -> Outcome:
        return self._outcomes[key]

    def add(self, key: str, outcome: Outcome) -> None:
        """Record an outcome and write it. Raises OutputError."""
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
        with contextlib.suppress(OSError):  # add() has already reported a failed write
            self._file.close()


def _read(line: bytes) -> tuple[str, Outcome]:
    entry = json.loads(line)
    return entry["program"], Outcome(entry["outcome"])
