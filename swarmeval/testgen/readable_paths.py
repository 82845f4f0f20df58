"""Paths that tests of a package must be able to read: the package, its dependencies, pytest and coverage.py.

Dependencies come from the metadata of installed distributions, without extras. Imports none of them.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from swarmeval.errors import DataError
from swarmeval.testgen.packages import Root

TOOLS = ("pytest", "coverage")  # distributions


def readable_paths(roots: Sequence[Root]) -> list[str]:
    """Files and folders for Sandbox(shown=...). Raises DataError if pytest or coverage.py is not installed."""
    paths: set[str] = {str(root.import_folder / root.name.partition(".")[0]) for root in roots}
    paths |= {str(place) for root in roots for place in root.places if not place.is_relative_to(root.import_folder)}
    paths |= {str(root.import_folder / f"{root.name}.py") for root in roots}
    owners = metadata.packages_distributions()
    distributions = {name for root in roots for name in owners.get(root.name.partition(".")[0], [])}
    for tool in TOOLS:
        if not list(metadata.distributions(name=tool)):
            raise DataError(
                f"loadtest: {tool} is not installed, but needed to run tests; run: pip install -r requirements.txt"
            )
    for name in closure({*distributions, *TOOLS}):
        paths.update(_entries(name))
    return sorted(place for place in paths if Path(place).exists())


def closure(names: Iterable[str]) -> set[str]:
    """These distributions and all their dependencies."""
    seen: set[str] = set()
    waiting = [_plain(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += _needs(name)
    return seen


def _needs(name: str) -> Iterator[str]:
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _plain(requirement.name)


def _entries(name: str) -> Iterator[str]:
    """Yield the top-level files and folders of an installed distribution."""
    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError:
        return
    tops = {file.parts[0]: file for file in files if file.parts[0] not in ("..", "__pycache__")}
    for top, file in tops.items():
        yield str(Path(str(file.locate())).parents[len(file.parts) - 1] / top)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
