"""The entries of languages.yaml, as written there. Finds no toolchain and runs nothing."""

import re
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ValidationError

from swarmeval.errors import ConfigError

FILE = Path(__file__).with_name("languages.yaml")

Words = tuple[str, ...]


def checked_pattern(pattern: str) -> str:
    """The pattern itself. Raises ValueError if it is not a regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression ({error})") from None
    return pattern


Pattern = Annotated[str, AfterValidator(checked_pattern)]


class _Entry(BaseModel, frozen=True, extra="forbid"):
    """A part of the file in which unknown keys are errors."""


class Need(_Entry):
    """A library or command that must exist; `check` succeeds if it does."""

    name: str
    package: str
    check: Words


class Warming(_Entry):
    """Files and commands that fill a folder once, before the first program is built."""

    files: dict[str, str]
    commands: tuple[Words, ...]


class WrongAnswer(_Entry):
    """The exit code and output of a program in which an assertion of the tests failed."""

    exit_code: int | None = None
    output: Pattern = ""


class SecretEnding(_Entry):
    """Code that prints {secret}, and the pattern of the text that it must precede."""

    code: str
    before: Pattern = r"\Z"


class LanguageEntry(_Entry):
    """One entry: the toolchain of a language and how its programs are judged. languages.yaml explains each key."""

    package: str
    command: str
    home: Words = ()
    version: Words
    needs: tuple[Need, ...] = ()
    file: str
    build: Words = ()
    run: Words
    check: Words = ()
    warm: Warming | None = None
    environment: dict[str, str] = {}
    places: Words = ()
    wrong_answer: WrongAnswer
    ending: SecretEnding


def read(path: Path) -> dict[str, LanguageEntry]:
    """Name -> entry. Raises ConfigError in one line for the first invalid entry."""
    import yaml  # slow, and not needed for --help

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: must map names of languages to their entries")
    languages = {}
    for name, entry in found.items():
        try:
            languages[str(name)] = LanguageEntry.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in (name, *first["loc"]))
            raise ConfigError(f"{path}: {where}: {first['msg']}") from None
    return languages


@cache
def languages() -> dict[str, LanguageEntry]:
    """The languages that Swarmeval ships."""
    return read(FILE)


def language(name: str) -> LanguageEntry:
    """The entry of a language. Raises ConfigError if there is none."""
    if name not in languages():
        raise ConfigError(f"language is {name!r}; use one of {', '.join(languages())}")
    return languages()[name]
