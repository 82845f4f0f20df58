"""Secrets that a test registers: kept out of all texts while it runs, and forgotten after it."""

from collections.abc import Iterator
from contextlib import contextmanager

from swarmeval import secrets


@contextmanager
def forgotten_after() -> Iterator[None]:
    """Forget at the end what was registered within."""
    before = set(secrets.registered)
    try:
        yield
    finally:
        secrets.registered.clear()
        secrets.registered.update(before)
