"""Building the kernels: once for any number of processes, and always optional."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from swarmeval.engine.kernels import choice, native
from tests.support.checkout import ROOT

LOAD = "import torch; from swarmeval.engine.kernels import native; native.load(torch.float32); print('loaded')"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SWARMEVAL_CACHE", str(folder))
    return folder


def compiler(folder: Path, *lines: str) -> str:
    """A fake compiler made of these shell lines."""
    file = folder / "compiler"
    file.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    file.chmod(0o755)
    return str(file)


def reason(dtype: torch.dtype = torch.float32) -> str:
    with pytest.raises(native.Unavailable) as error:
        native.load(dtype)
    return str(error.value)


def test_without_a_compiler_the_reason_is_given(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    assert reason() == "no C++ compiler was found"


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = compiler(tmp_path, "echo 'first' >&2", "echo 'kernels.cpp:1: no such thing' >&2", "exit 1")
    monkeypatch.setenv("CXX", broken)
    assert reason() == f"{broken} failed: kernels.cpp:1: no such thing"
    assert list(cache.iterdir()) == []


def test_a_hanging_compiler_is_given_up(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = compiler(tmp_path, '[ "$1" = --version ] || exec sleep 60')
    monkeypatch.setenv("CXX", slow)
    monkeypatch.setattr(native, "BUILD_TIMEOUT_S", 0.5)
    assert reason() == f"{slow} did not finish within 0 s"


def test_a_compiled_library_that_cannot_be_loaded_is_not_used(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "CXX", compiler(tmp_path, '[ "$1" = --version ] || { for last; do :; done; echo nonsense > "$last"; }')
    )
    assert "cannot build, cache or load them" in reason()
    assert list(cache.iterdir()) == []


def test_an_unwritable_cache_makes_kernels_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SWARMEVAL_CACHE", str(tmp_path / "file" / "cache"))
    assert "cannot build, cache or load them" in reason()


def test_other_dtypes_are_refused() -> None:
    assert reason(torch.float16) == "torch.float16 is not supported"


def test_the_reason_is_logged_and_the_run_continues(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    assert choice.native_kernels(torch.float32) is None
    assert caplog.messages == ["no compiled kernels: no C++ compiler was found"]


@pytest.mark.slow
def test_concurrent_builds_do_not_disturb_each_other(cache: Path) -> None:
    both = [subprocess.Popen([sys.executable, "-c", LOAD], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in "12"]
    assert [process.communicate()[0] for process in both] == ["loaded\n", "loaded\n"]
    assert len(list(cache.iterdir())) == 1
