"""Fills the folders that make builds faster: precompiled headers, class archives, compiled standard libraries.

They are made once per version of a toolchain, outside the sandbox, and contain nothing that a model wrote. Programs can
read them and never write to them.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from swarmeval.errors import ConfigError
from swarmeval.sandbox.toolchains import Toolchain, WarmFolder, find

LIMIT_S = 300.0


def ready(languages: Iterable[str], commands: Mapping[str, str] | None = None) -> dict[str, Toolchain]:
    """Find and warm up the toolchains of these languages. `commands`: the paths of commands to use instead of theirs.

    Raises ConfigError, which names the missing package.
    """
    toolchains = installed(languages, commands or {})
    for toolchain in toolchains.values():
        warm_up(toolchain)
    return toolchains


def installed(languages: Iterable[str], commands: Mapping[str, str]) -> dict[str, Toolchain]:
    """Find the toolchains of these languages. Creates no file. Raises ConfigError, which names the missing package."""
    return {language: find(language, commands.get(language)) for language in sorted(set(languages))}


def warm_up(toolchain: Toolchain) -> None:
    """Make the toolchain's warm folder unless it exists. Several processes may do so at once.

    Raises ConfigError if a command fails or the folder cannot be written.
    """
    warm = toolchain.warm
    if warm is None or Path(warm.folder).is_dir():
        return
    folder = Path(warm.folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as root:
            draft = Path(root, "draft")
            draft.mkdir()
            _fill(toolchain.language, warm, draft)
            if not folder.is_dir():
                draft.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # otherwise another process was faster
            raise ConfigError(
                f"{toolchain.language}: cannot write {folder} ({error.strerror or error}); "
                "set SWARMEVAL_CACHE to another folder"
            ) from None


def _fill(language: str, warm: WarmFolder, draft: Path) -> None:
    def moved(text: str) -> str:
        return text.replace(warm.folder, str(draft))

    for name, text in warm.files:
        (draft / name).write_text(text, encoding="utf-8")
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(draft.parent),
        "TMPDIR": str(draft.parent),
        **{key: moved(value) for key, value in warm.environment},
    }
    for command in warm.commands:
        words = [moved(word) for word in command]
        try:
            done = subprocess.run(
                words, cwd=draft, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                errors="replace", timeout=LIMIT_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ConfigError(f"{language}: {words[0]!r} did not prepare {warm.folder} within {LIMIT_S:g} s") from None
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            raise ConfigError(
                f"{language}: {words[0]!r} cannot prepare {warm.folder}: exit code {done.returncode} ({last})"
            )
    _make_readable(draft)


def _make_readable(folder: Path) -> None:
    """Let every user read the folder: programs run as another user."""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
