"""Keeps started judges out of forked processes, which inherit sockets and threads' state, but no thread."""

import os
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

Started = TypeVar("Started")

_watched: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()


def watch(started: Started, forget: Callable[[Started], None]) -> None:
    """Let an object forget the parent's state in every process that this one forks, directly after the fork."""
    _register()
    _watched[started] = forget


@cache
def _register() -> None:
    os.register_at_fork(after_in_child=_forget_all)


def _forget_all() -> None:
    for started, forget in list(_watched.items()):
        forget(started)


def release(fds: tuple[int, ...]) -> None:
    """Replace inherited file descriptors by /dev/null. Their numbers stay in use, so that no later file gets them."""
    if not fds:
        return
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in fds:
        os.dup2(null, fd, inheritable=False)
    os.close(null)
