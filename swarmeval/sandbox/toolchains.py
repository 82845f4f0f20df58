"""Finds the toolchain of a language on this machine, and writes the file that it judges.

The result is plain data with absolute paths, which the sandbox uses without searching. No code here names a language.
"""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from swarmeval import home
from swarmeval.errors import ConfigError, DataError
from swarmeval.sandbox.languages import LanguageEntry, Words, language
from swarmeval.sandbox.layers.places import outermost

VISIBLE = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin")  # every program can read these
COMMON_PLACES = ("/etc/alternatives",)  # Debian's links to the chosen awk, cc, java and others
ANSWER_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class WarmFolder:
    """A folder that makes builds faster, and how to fill it. The commands and environment contain its path."""

    folder: str
    files: tuple[tuple[str, str], ...]  # (name, text)
    commands: tuple[Words, ...]
    environment: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Toolchain:
    """Commands that build and run programs of one language, in the folder that contains `file`.

    First words are absolute paths, except for those in the program's folder (./program). Only {memory_mb} remains to
    be filled in; see `command`.
    """

    language: str
    version: str
    file: str
    build: Words  # empty for interpreters
    run: Words
    check: Words  # fails if the file has a syntax error; empty for compilers
    environment: tuple[tuple[str, str], ...]
    places: Words  # what programs must be able to read besides VISIBLE
    warm: WarmFolder | None
    failure_exit_code: int | None
    failure_output: str  # regular expression
    ending: str  # code that prints {secret}
    ending_before: str  # regular expression


def find(name: str, command: str | None = None) -> Toolchain:
    """The toolchain of a language. `command` replaces the entry's own, for example with another interpreter's path.

    Runs a few short commands and creates no file. Raises ConfigError in one line that names the missing package.
    """
    entry = language(name)
    path = shutil.which(command or entry.command)
    if path is None:
        raise ConfigError(_missing(name, command or entry.command, entry.package))
    filler = _Filler(name, {"command": path, "file": entry.file})
    homes = filler.answer(entry.home).splitlines() if entry.home else []
    filler.values["home"] = homes[0] if homes else ""
    for need in entry.needs:
        if _run(filler.words(need.check)).returncode:
            raise ConfigError(_missing(name, need.name, need.package))
    version = filler.answer(entry.version).splitlines()[0].strip()
    filler.values["command"] = _visible(path)  # not before: version managers' links act by the name of the link
    warm_path = _warm_path(name, entry, f"{path} {homes} {version}") if entry.warm else None
    filler.values["warm"] = str(warm_path or "")
    environment = tuple((key, filler.text(value)) for key, value in sorted(entry.environment.items()))
    warm = _warm_folder(entry, filler, environment) if entry.warm else None
    return Toolchain(
        language=name,
        version=version,
        file=entry.file,
        build=filler.words(entry.build),
        run=filler.words(entry.run),
        check=filler.words(entry.check),
        environment=environment,
        places=_places(entry, filler.values, homes),
        warm=warm,
        failure_exit_code=entry.wrong_answer.exit_code,
        failure_output=entry.wrong_answer.output,
        ending=entry.ending.code,
        ending_before=entry.ending.before,
    )


def command(words: Words, memory_mb: int) -> list[str]:
    """A command of a toolchain with its memory limit filled in."""
    return [word.replace("{memory_mb}", str(memory_mb)) for word in words]


def program_text(toolchain: Toolchain, candidate: str, tests: str, secret: str) -> str:
    """The candidate, the tests, and the code that prints a secret line once all tests have passed.

    Raises DataError if the tests have no place for that code.
    """
    places = list(re.finditer(toolchain.ending_before, tests))
    if not places:
        raise DataError(f"{toolchain.language}: the tests must end with text that matches {toolchain.ending_before!r}")
    place = places[0].start()
    ending = toolchain.ending.replace("{secret}", secret)
    return f"{candidate}\n{tests[:place]}\n{ending}\n{tests[place:]}"


def is_wrong_answer(toolchain: Toolchain, exit_code: int, output: str) -> bool:
    """Whether a failed run ended in an assertion of its tests. `output` is its standard output and error."""
    code, pattern = toolchain.failure_exit_code, toolchain.failure_output
    return (code is None or code == exit_code) and re.search(pattern, output, re.MULTILINE) is not None


class _Filler:
    """Fills the placeholders of one entry. Their values become known one after another."""

    def __init__(self, name: str, values: dict[str, str]) -> None:
        self.name = name
        self.values = values

    def text(self, text: str) -> str:
        for key, value in self.values.items():
            text = text.replace(f"{{{key}}}", value)
        return text

    def words(self, words: Words) -> Words:
        """The words with placeholders filled in. The first is absolute unless it is in the program's folder."""
        if not words:
            return ()
        first, *rest = (self.text(word) for word in words)
        return (first if "/" in first else shutil.which(first) or first, *rest)

    def answer(self, words: Words) -> str:
        """The output of a command. Raises ConfigError if it fails or prints nothing."""
        filled = self.words(words)
        done = _run(filled)
        said = (done.stdout.strip() or done.stderr.strip()) if done.returncode == 0 else ""
        if not said:
            first = (done.stderr.strip() or "no output").splitlines()[0]
            raise ConfigError(f"{self.name}: {' '.join(filled)!r} failed with exit code {done.returncode} ({first})")
        return said


def _run(words: Words) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=ANSWER_LIMIT_S
        )
    except OSError as error:
        return subprocess.CompletedProcess(words, 127, "", error.strerror or str(error))
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", f"no answer within {ANSWER_LIMIT_S:g} s")


def _missing(name: str, what: str, package: str) -> str:
    return f"{name}: {what!r} is not installed; run: apt install {package}"


def _is_visible(path: str) -> bool:
    return path.startswith(tuple(f"{folder}/" for folder in VISIBLE)) or path in VISIBLE


def _visible(path: str) -> str:
    """The path itself if programs can read it, otherwise the file that it links to."""
    return path if _is_visible(path) else str(Path(path).resolve())


def _places(entry: LanguageEntry, values: Mapping[str, str], homes: list[str]) -> Words:
    found = [*COMMON_PLACES, *homes, values["warm"], *_existing(entry.places)]
    if any("{command}" in word for word in (*entry.build, *entry.run, *entry.check)):
        found.append(values["command"])
    targets = {str(Path(path).resolve()) for path in found if path}
    warm = [values["warm"]] if values["warm"] else []  # may not exist yet
    return (*(path for path in outermost({*found, *targets} - {*warm}) if not _is_visible(path)), *warm)


def _existing(patterns: Words) -> list[str]:
    return [str(path) for pattern in patterns for path in Path("/").glob(pattern.lstrip("/"))]


def _warm_path(name: str, entry: LanguageEntry, toolchain: str) -> Path:
    key = hashlib.sha256(f"{entry!r} {toolchain}".encode()).hexdigest()[:16]
    return home.cache_folder() / "toolchains" / f"{name}-{key}"


def _warm_folder(entry: LanguageEntry, filler: _Filler, environment: tuple[tuple[str, str], ...]) -> WarmFolder:
    assert entry.warm is not None
    return WarmFolder(
        folder=filler.values["warm"],
        files=tuple(sorted(entry.warm.files.items())),
        commands=tuple(filler.words(words) for words in entry.warm.commands),
        environment=environment,
    )
