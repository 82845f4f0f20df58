"""Keeps started judges out of forked processes, which inherit sockets and threads' state, but no thread."""

import os
from functools import cache
from typing import Protocol
from weakref import WeakSet


class Forgetful(Protocol):
    """An object that can drop its state after a fork."""

    def forget(self) -> None:
        """Drop what belongs to the parent process. Runs in the child, directly after the fork."""


_watched: WeakSet[Forgetful] = WeakSet()


def watch(started: Forgetful) -> None:
    """Let an object forget its state in every process that this one forks."""
    _register()
    _watched.add(started)


@cache
def _register() -> None:
    os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    for started in list(_watched):
        started.forget()


def release(fds: tuple[int, ...]) -> None:
    """Replace inherited file descriptors by /dev/null. Their numbers stay in use, so that no later file gets them."""
    if not fds:
        return
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in fds:
        os.dup2(null, fd, inheritable=False)
    os.close(null)
