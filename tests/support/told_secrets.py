"""Secrets that a test tells: kept out of all texts while it runs, and forgotten after it."""

from collections.abc import Iterator
from contextlib import contextmanager

from swarmeval import secrets


@contextmanager
def forgotten_after() -> Iterator[None]:
    """Forget at the end what was told within."""
    before = set(secrets.told)
    try:
        yield
    finally:
        secrets.told.clear()
        secrets.told.update(before)
