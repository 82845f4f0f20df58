"""If programs share a file system with the machine, their folder is emptied whatever they leave in it."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from swarmeval.sandbox.jail import clear


def deep(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


def long(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 255, dir_fd=descriptor)
        inner = os.open("d" * 255, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


def forbidden(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "x").touch()
    for path in (folder / "a" / "b", folder / "a", folder):
        path.chmod(0)


def linked(folder: Path) -> None:
    (folder / "link").symlink_to(folder.parent / "kept")


@pytest.mark.parametrize("make", [deep, long, forbidden, linked])
def test_nothing_that_a_program_made_stays_and_nothing_else_goes(make: Callable[[Path], None], tmp_path: Path) -> None:
    folder, kept = tmp_path / "folder", tmp_path / "kept"
    folder.mkdir(0o711)
    kept.mkdir()
    (kept / "file").touch()
    mode = folder.stat().st_mode
    make(folder)
    clear(folder, mode)
    assert list(folder.iterdir()) == []
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(mode)
    assert (kept / "file").exists()
