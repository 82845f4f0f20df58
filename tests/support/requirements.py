"""The requirements of the project: what a run needs, and the extras."""

import re
import tomllib
from collections.abc import Mapping

from tests.support.checkout import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: Mapping[str, tuple[str, ...]] = {
    name: tuple(lines) for name, lines in PROJECT["project"]["optional-dependencies"].items()
}
RUN = tuple(
    line for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")
)


def normal(name: str) -> str:
    """The name of a distribution as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
