"""Secrets that a test registers: removed from all texts during the test, and forgotten afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from swarmeval import secrets


@contextmanager
def forgotten_after() -> Iterator[None]:
    """Forget the secrets registered within the block."""
    before = set(secrets.registered)
    try:
        yield
    finally:
        secrets.registered.clear()
        secrets.registered.update(before)
