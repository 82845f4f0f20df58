"""The data that the panels draw: a snapshot of the run folder, and counts from its journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from swarmeval.dashboard.format import to_float
from swarmeval.records import Status
from swarmeval.runs.journal import NAME as JOURNAL
from swarmeval.watch import snapshot
from swarmeval.watch.follow import Follower, JournalTally
from swarmeval.watch.snapshot import CsvRow, Snapshot

PAUSE_S = 2.0  # if wall-clock time advances this much more than the run's clock, the run was interrupted
RATE_ROWS = 5  # number of samples over which counters become rates


@dataclass(frozen=True, slots=True)
class View:
    """The state of a run at one moment."""

    snapshot: Snapshot
    tally: JournalTally = field(default_factory=JournalTally)

    @property
    def status(self) -> Status | None:
        return self.snapshot.status

    @property
    def manifest(self) -> Mapping[str, Any]:
        return self.snapshot.manifest or {}

    def now(self, column: str) -> float | None:
        """The latest value of a column of resource_trace.csv; None if there is none."""
        return to_float(self.snapshot.resources[-1].get(column)) if self.snapshot.resources else None

    def history(self, column: str) -> list[float | None]:
        return [to_float(row.get(column)) for row in self.snapshot.resources]

    def rate(self, column: str) -> float | None:
        """Increase of a counter per second over the last samples; None with one sample, or across two sessions."""
        return rate(self.snapshot.resources[-RATE_ROWS:], column)


def look(follower: Follower, whole: bool = False) -> View:
    """Read the current state of the follower's folder: with `whole` the entire journal, else its next part."""
    now = snapshot.read(follower.folder)
    try:
        (follower.catch_up if whole else follower.look)(now.run_id, now.agents())
    except OSError as error:
        problem = f"{follower.folder / JOURNAL}: cannot be read ({error.strerror})"
        now = replace(now, trouble=(*now.trouble, problem))
    return View(now, follower.tally)


def rate(rows: tuple[CsvRow, ...], column: str) -> float | None:
    """Increase of a counter per second from the first to the last row.

    None across two sessions, because the machine's counters advance between them and elapsed_s does not.
    """
    if len(rows) < 2:
        return None
    figures = [to_float(row.get(name)) for row in (rows[0], rows[-1]) for name in (column, "elapsed_s")]
    first, began, last, ended = figures
    if first is None or began is None or last is None or ended is None or ended <= began or last < first:
        return None
    before, now = (_unix_s(row.get("time", "")) for row in (rows[0], rows[-1]))
    if before is not None and now is not None and now - before > ended - began + PAUSE_S:
        return None
    return (last - first) / (ended - began)


def _unix_s(stamp: str) -> float | None:
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return None
