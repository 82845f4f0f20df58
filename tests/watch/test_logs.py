"""run.log: rotated, bounded, without secrets, archived with its run. A full disk loses lines but not the run."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmeval import secrets
from swarmeval.errors import OutputError
from swarmeval.runs.folder import fingerprint, open_run, write_manifest
from swarmeval.watch import logs
from swarmeval.watch.logs import BACKUPS, log_to_file, log_to_screen
from tests.support.checkout import ROOT
from tests.support.registered_secrets import forgotten_after

log = logging.getLogger("swarmeval")
LINE_BYTES = 200


@pytest.fixture
def told() -> Iterator[str]:
    with forgotten_after():
        secrets.register("planted0value")
        yield "planted0value"


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.glob("run.log*"))}


def say(lines: int, begin: int = 0) -> None:
    for number in range(begin, begin + lines):
        log.info("%s", f"line {number} ".ljust(LINE_BYTES, "."))


def test_a_log_that_is_full_is_put_aside_and_only_the_last_ones_are_kept(tmp_path: Path) -> None:
    with log_to_file(tmp_path, max_bytes=2000):
        say(200)
    names = files(tmp_path)
    assert list(names) == ["run.log", *(f"run.log.{number}" for number in range(1, BACKUPS + 1))]
    assert max(names.values()) <= 2000
    assert "line 199 " in (tmp_path / "run.log").read_text()
    assert "line 0 " not in "".join(path.read_text() for path in tmp_path.iterdir())


def test_what_may_lie_on_the_disk_is_what_the_manual_says() -> None:
    manual = (ROOT / "docs/result-files.md").read_text(encoding="utf-8")
    assert f"`run.log` | the log, up to {logs.MAX_BYTES >> 20} MiB" in manual
    assert f"`run.log.1` to `run.log.{BACKUPS}` are older parts" in manual


def test_the_next_session_of_a_run_goes_on_in_the_same_log(tmp_path: Path) -> None:
    for session in range(2):
        with log_to_file(tmp_path):
            log.info("session %d", session)
    assert [line.split(": ")[1] for line in (tmp_path / "run.log").read_text().splitlines()] == [
        "session 0", "session 1"
    ]  # fmt: skip


def test_a_run_is_archived_with_all_its_logs_and_the_next_begins_empty(tmp_path: Path) -> None:
    manifest, _ = open_run(tmp_path, fingerprint({"a": 1}), fresh=False)
    write_manifest(tmp_path, manifest)
    with log_to_file(tmp_path, max_bytes=1000):
        say(10)
    before = files(tmp_path)
    assert len(before) > 1
    open_run(tmp_path, fingerprint({"a": 1}), fresh=True)
    assert files(tmp_path) == {}
    assert files(tmp_path / "archive" / manifest["run_id"]) == before


def test_moving_a_folder_with_an_open_log_loses_no_line_nor_stops_the_run(tmp_path: Path) -> None:
    folder, moved = tmp_path / "run", tmp_path / "moved"
    folder.mkdir()
    with log_to_file(folder, max_bytes=2000):
        say(3)
        folder.rename(moved)
        say(3, begin=3)
        assert "line 5 " in (moved / "run.log").read_text()
        say(30, begin=6)  # no new file can be created, so these lines are lost silently
        folder.mkdir()
        say(1, begin=99)
    assert "line 99 " in (folder / "run.log").read_text()


def test_a_log_that_cannot_be_begun_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.log").mkdir()
    with pytest.raises(OutputError) as caught, log_to_file(tmp_path):
        pass
    assert str(caught.value) == (
        f"{tmp_path / 'run.log'}: cannot be written (Is a directory); fix this or choose another --output_dir"
    )


FULL = """
import logging, resource, signal, sys
from pathlib import Path
from swarmeval.watch.logs import log_to_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = logging.getLogger("swarmeval")
folder = Path(sys.argv[1])
with log_to_file(folder, max_bytes=10_000):
    log.info("before")
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))
    for _ in range(200):
        log.info("x" * 100)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    log.info("after")
print("done")
"""


@pytest.mark.slow
def test_a_full_disk_costs_lines_and_the_log_continues_when_there_is_room(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    text = (tmp_path / "run.log").read_text()
    assert "before" in text
    assert text.endswith("after\n")


def test_lines_and_tracebacks_hold_no_secret_in_the_file_nor_for_people(tmp_path: Path, told: str) -> None:
    said: list[str] = []
    with log_to_file(tmp_path), log_to_screen(said.append, verbose=True):
        log.info("with %s", told)
        try:
            raise RuntimeError(f"refused {told}")
        except RuntimeError:
            log.exception("it failed")
    for text in ((tmp_path / "run.log").read_text(), "\n".join(said)):
        assert "with ***" in text
        assert "RuntimeError: refused ***" in text
        assert told not in text
