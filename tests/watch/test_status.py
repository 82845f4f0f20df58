"""Claims about status.json: it reads back as written, is never seen partially written, and names a live process."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swarmeval.errors import DataError, OutputError
from swarmeval.records import Status, WorkerStatus
from swarmeval.watch import status as status_file

STATUS = Status(
    run_id="r1",
    pid=1,
    phase="generating",
    updated_at=1.5,
    total_jobs=10,
    done_jobs=4,
    pass_at_1=None,
    outcomes={"PASSED": 3, "RAISED": 1},
    workers=(WorkerStatus("cpu:0", "ready", 7, in_flight=2),),
    message='quotes " and \n lines',
)


def test_a_status_reads_back_as_written_and_leaves_no_other_file(tmp_path: Path) -> None:
    status_file.write(tmp_path, Status("r0", 1, "loading", 0.0, 10))
    status_file.write(tmp_path, STATUS)
    assert status_file.read(tmp_path) == STATUS
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_a_folder_without_a_run_has_no_status(tmp_path: Path) -> None:
    assert status_file.read(tmp_path) is None
    assert status_file.read(tmp_path / "missing") is None


def test_an_open_reader_keeps_the_old_status_while_a_new_one_is_written(tmp_path: Path) -> None:
    status_file.write(tmp_path, STATUS)
    whole = (tmp_path / "status.json").read_bytes()
    with (tmp_path / "status.json").open("rb") as reader:
        status_file.write(tmp_path, Status("r2", 1, "done", 2.0, 10))
        assert reader.read() == whole


@pytest.mark.parametrize("text", ["", "{", '{"run_id": 1}', "[]", '{"run_id": "\\ud800"}'])
def test_a_broken_status_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "status.json"
    path.write_text(text)
    with pytest.raises(DataError) as refused:
        status_file.read(tmp_path)
    message = str(refused.value)
    assert message.startswith(f"{path}: not a valid status (")
    assert message.endswith("); the next start of the run replaces it")
    assert "\n" not in message


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as refused:
        status_file.write(tmp_path / "missing", STATUS)
    path = tmp_path / "missing" / "status.json"
    expected = f"{path}: cannot be written (No such file or directory); fix this or choose another --output_dir"
    assert str(refused.value) == expected


@pytest.mark.parametrize(
    "pid", [os.getpid(), 1], ids=["itself", "init"]
)  # process 1 belongs to another user, unless the tests run as root
def test_a_running_coordinator_is_alive(pid: int) -> None:
    assert status_file.alive(Status("r", pid, "generating", time.time(), 1))


def test_a_process_that_began_later_is_not_the_coordinator() -> None:
    assert not status_file.alive(Status("r", os.getpid(), "generating", 1_000_000_000.0, 1))


def test_an_ended_coordinator_is_not_alive() -> None:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    assert not status_file.alive(Status("r", ended.pid, "generating", time.time(), 1))


@pytest.mark.parametrize("pid", [0, -1, 2**80])
def test_an_invalid_pid_is_not_alive(pid: int) -> None:
    assert not status_file.alive(Status("r", pid, "generating", time.time(), 1))
