"""Fixtures of the tests that open a report in a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Page, quiet


@pytest.fixture
def opened(report: Path, tmp_path: Path) -> Iterator[Page]:
    """The module's `report`, shown in a browser."""
    with quiet(tmp_path / "profile", report, "example/model on humaneval - Swarmeval") as shown:
        yield shown
