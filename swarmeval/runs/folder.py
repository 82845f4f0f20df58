"""The run folder: its lock, its manifest, and the archive for old runs. Knows nothing about results.

Archiving moves only files that a run creates; other files and nested run folders stay.
"""

import fcntl
import hashlib
import itertools
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec

from swarmeval.errors import OutputError, RunLocked
from swarmeval.files import cannot_write, replaced
from swarmeval.location import command
from swarmeval.runs import older_manifest
from swarmeval.runs.journal import NAME as JOURNAL
from swarmeval.secrets import scrubbed
from swarmeval.settings import old_spelling
from swarmeval.settings.run_config import SCORE_USES

MANIFEST = "manifest.json"
LOCK = ".lock"
ARCHIVE = "archive"
REPORTS = ("report.html", "load_report.html")
RUN_FILES = (
    MANIFEST, JOURNAL, "score.json", "agent_summary.json", "task_summary.json", "extractors.json", "extractors.jsonl",
    "agent_*_results.jsonl", "agent_*_evaluation.json", "repairs.jsonl", "audit.jsonl", "prefixes.jsonl", "metrics.csv",
    "gpu_trace.csv", "resource_trace.csv", "events.jsonl", "status.json", *REPORTS, "run.log", "run.log.*",
    "wandb",
    "trace.json", "trace_*.jsonl", "flame_*.html",
    "requests.csv", "load_facts.json", "load.json", "generated_tests", "generated_tests.*",
    "worth.jsonl", "exports",
)  # fmt: skip

log = logging.getLogger("swarmeval")

Manifest = dict[str, Any]
FileName = Annotated[str, msgspec.Meta(pattern=r"^\w[\w.-]*\Z")]
Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class _SessionEntry(msgspec.Struct):
    ended_at: float | None
    started_at: float = 0.0
    pid: int = 0


class _Data(msgspec.Struct):
    tasks: Count = 1
    tasks_in_all: Count | None = None


class _Hardware(msgspec.Struct):
    gpus: list[Any] = []


class _Agent(msgspec.Struct):
    id: int
    name: str | None = None


class _JudgePython(msgspec.Struct):
    version: str
    packages: dict[str, str]


class _Manifest(msgspec.Struct):
    """The fields that resuming, archiving and displaying a run rely on; other fields are not checked.

    A manifest may have been edited by hand or written by another version.
    """

    run_id: FileName
    sessions: list[_SessionEntry]
    archiving: FileName | None = None
    config: dict[str, Any] = {}
    data: _Data = msgspec.field(default_factory=_Data)
    hardware: _Hardware = msgspec.field(default_factory=_Hardware)
    agents: list[_Agent] = []
    prompts: dict[str, Any] = {}
    replicas: dict[str, dict[str, Any]] = {}
    versions: dict[str, Any] = {}
    idle_w: dict[str, float] = {}
    replies: dict[str, Any] = {}
    sandbox_missing: dict[str, str] = {}
    judge_python: _JudgePython | None = None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a run folder for this process, creating the folder if needed.

    The kernel releases the lock when its holder exits, so locks never go stale. Raises RunLocked, or OutputError if
    the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise cannot_write(folder, error) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise RunLocked(
            f"{folder}: in use by another run (PID {holder}); wait for it or choose another --output_dir"
        ) from None
    try:
        _sign(fd, folder)
        yield
    finally:
        os.close(fd)


def _sign(fd: int, folder: Path) -> None:
    """Write this process's PID into the lock file, for the message that other processes show."""
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        raise cannot_write(folder, error) from None


def fingerprint(measured: Mapping[str, object]) -> str:
    """Hash everything that affects results. Two sessions belong to one run if their hashes are equal."""
    text = json.dumps(measured, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def open_run(folder: Path, mark: str, fresh: bool, check: Callable[[], None] | None = None) -> tuple[Manifest, bool]:
    """Return (manifest, resumed) for the run with this fingerprint, after archiving any other or finished run.

    `check` runs before anything is moved, and raises if a new run cannot start.
    """
    for draft in folder.glob(".*.tmp"):  # left by a process killed while writing; we hold the lock
        draft.unlink(missing_ok=True)
    old = read_manifest(folder)
    same = old is not None and old.get("fingerprint") == mark
    if old is not None and same and not fresh and not old.get("finished") and "archiving" not in old:
        return old, True
    if check is not None:
        check()
    if target := archive(folder, old):
        log.warning("%s: %s was moved to %s; %s", folder, _found(old, same), target, _report_of(target))
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return {"run_id": f"{stamp}-{mark[:6]}", "fingerprint": mark, "finished": False, "sessions": []}, False


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest in a folder; None if there is none.

    Raises OutputError if the file is not a valid manifest.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        msgspec.convert(manifest, _Manifest)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except msgspec.ValidationError as error:
        raise OutputError(f"{path}: not a valid manifest ({error}); move the file away") from None
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror}); fix that or move the file away") from None
    except (ValueError, RecursionError) as error:
        raise OutputError(f"{path}: cannot be read ({error}); move the file away") from None
    return _renewed(manifest)


def _renewed(manifest: Manifest) -> Manifest:
    """Convert a manifest to this version's spelling. If its settings cannot be obeyed, it matches no run."""
    if older_manifest.is_older(manifest):
        measured = older_manifest.measured(manifest)
        mark = manifest.get("fingerprint") if measured is None else fingerprint(measured)
        manifest = {**manifest, "config": old_spelling.renewed(manifest["config"]), "fingerprint": mark}
    if "replies" in manifest:
        manifest = {**manifest, "config": used_by_score(manifest.get("config", {}))}
    return manifest


def used_by_score(config: Mapping[str, Any]) -> Manifest:
    """The settings that `score` used; all others are unused defaults."""
    names = {key.partition(".")[0] for key in SCORE_USES}
    return {name: value for name, value in config.items() if name in names}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest atomically, with secrets removed."""
    with replaced(folder / MANIFEST, durable=True) as file:
        json.dump(scrubbed(manifest), file, indent=2)
        file.write("\n")


def _report_of(folder: Path) -> str:
    """The path of a moved run's report, or the command that makes it."""
    made = next((folder / name for name in REPORTS if (folder / name).exists()), None)
    return f"its report: {made}" if made else f"`{command()} report {folder}` makes its report"


def _found(manifest: Manifest | None, same: bool) -> str:
    """Describe the run found in a folder; `same`: whether it has the same settings."""
    if manifest is None:
        return "the run found there, of unknown settings,"
    if not manifest.get("finished"):
        return "the run found there, unfinished,"
    return "this run had finished and starts over; the earlier one" if same else "the run found there, finished,"


def _target(folder: Path, manifest: Manifest | None) -> Path:
    """Folder to archive a run in: a new one, or the one that an interrupted move started to fill."""
    known = manifest or {}
    if unfinished := known.get("archiving"):
        return folder / ARCHIVE / str(unfinished)
    run_id = str(known.get("run_id") or f"unknown-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    names = itertools.chain([run_id], (f"{run_id}.{number}" for number in itertools.count(1)))
    targets = (folder / ARCHIVE / name for name in names)
    return next(target for target in targets if not target.exists() or not any(target.iterdir()))


def archive(folder: Path, manifest: Manifest | None) -> Path | None:
    """Move all files of the run in a folder to archive/<run id>/ and return that path; None if there are none."""
    paths = [path for pattern in RUN_FILES for path in sorted(folder.glob(pattern))]
    if not paths:
        return None
    target = _target(folder, manifest)
    try:
        target.mkdir(parents=True, exist_ok=True)
        if manifest is not None:
            write_manifest(folder, {**manifest, "archiving": target.name})
        # The manifest moves last, so that the next call can finish an interrupted move.
        for path in sorted(paths, key=lambda path: path.name == MANIFEST):
            shutil.move(path, target / path.name)
    except OSError as error:
        raise cannot_write(target, error) from None
    return target
