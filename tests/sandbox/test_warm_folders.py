"""Warm folders are made once, whole, and readable by the user that runs programs."""

import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from swarmeval.errors import ConfigError
from swarmeval.sandbox.toolchains import Toolchain, WarmFolder
from swarmeval.sandbox.warm_folders import warm_up

TOOLCHAIN = Toolchain(
    language="made-up", version="1", file="program", build=(), run=("/bin/true",), check=(), environment=(), places=(),
    warm=None, failure_exit_code=1, failure_output="", ending="", ending_before="",
)  # fmt: skip


def toolchain(folder: Path, script: str) -> Toolchain:
    warm = WarmFolder(
        folder=str(folder),
        files=(("source", "some text\n"),),
        commands=(("/bin/sh", "-c", script),),
        environment=(("PLACE", f"{folder}/made"),),
    )
    return replace(TOOLCHAIN, warm=warm)


def test_commands_find_their_files_and_write_to_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "made-up-1"
    warm_up(toolchain(folder, f'umask 077; mkdir "$PLACE"; cp {folder}/source "$PLACE/copy"'))
    assert (folder / "made" / "copy").read_text() == "some text\n"
    assert [path.name for path in folder.parent.iterdir()] == ["made-up-1"]


def test_every_user_can_read_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "made-up-1"
    warm_up(toolchain(folder, 'umask 077; mkdir "$PLACE"; cp source "$PLACE/copy"'))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) & 0o055 for path in (folder, *folder.rglob("*"))}
    assert modes == {"made-up-1": 0o055, "source": 0o044, "made": 0o055, "copy": 0o044}


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "made-up-1"
    warm_up(toolchain(folder, "echo first >result"))
    warm_up(toolchain(folder, "echo second >result"))
    assert (folder / "result").read_text() == "first\n"


def test_two_that_warm_up_at_once_leave_one_whole_folder(tmp_path: Path) -> None:
    """Each waits until the other has begun too."""
    folder, meet = tmp_path / "cache" / "made-up-1", tmp_path / "meet"
    meet.mkdir()
    script = f"mktemp {meet}/XXXXXX >/dev/null; until [ $(ls {meet} | wc -l) = 2 ]; do :; done; echo whole >result"
    threads = [threading.Thread(target=warm_up, args=(toolchain(folder, script),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert (folder / "result").read_text() == "whole\n"
    assert [path.name for path in folder.parent.iterdir()] == ["made-up-1"]


def test_a_failed_command_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "made-up-1"
    with pytest.raises(ConfigError) as error:
        warm_up(toolchain(folder, "echo first >&2; echo no such option >&2; exit 3"))
    assert str(error.value) == f"made-up: '/bin/sh' cannot prepare {folder}: exit code 3 (no such option)"
    assert list(folder.parent.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    folder = tmp_path / "cache" / "made-up-1"
    with pytest.raises(ConfigError) as error:
        warm_up(toolchain(folder, "true"))
    assert str(error.value) == (f"made-up: cannot write {folder} (File exists); set SWARMEVAL_CACHE to another folder")


def test_without_a_warm_folder_nothing_happens() -> None:
    warm_up(TOOLCHAIN)
