"""Linux calls that are missing from Python's standard library. Each raises an OSError that names the call."""

import ctypes
import os
import platform
from collections.abc import Callable
from typing import Any, NoReturn

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 36, 38
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522
# These numbers are the same on all architectures; older calls such as pivot_root differ.
MOUNT_SETATTR, LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 442, 444, 445, 446
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> int:
    """Call a function of the C library; integers are passed as long."""
    return _checked(name, getattr(_libc, name), arguments)


def syscall(number: int, name: str, *arguments: Any) -> int:
    """Make a system call that the C library may not support."""
    return _checked(name, _libc.syscall, (number, *arguments))


def prctl(option: int, value: Any = 0, other: Any = 0) -> None:
    call("prctl", option, value, other, 0, 0)


def drop_capabilities() -> Callable[[], None]:
    """A prepared call that drops all capabilities, in every namespace."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    return prepared("capset", _libc.capset, header, (ctypes.c_uint32 * 6)())


def prepared(name: str, function: Any, *arguments: Any) -> Callable[[], None]:
    """A call with converted arguments, for use after a fork, where each object that Python touches costs a page copy.

    The call raises OSError.
    """
    widened = _widened(arguments)

    def run() -> None:
        if function(*widened) < 0:
            _raise(name)

    return run


def prepared_prctl(option: int, value: Any = 0, other: Any = 0) -> Callable[[], None]:
    return prepared("prctl", _libc.prctl, option, value, other, 0, 0)


def prepared_syscall(number: int, name: str, *arguments: Any) -> Callable[[], None]:
    return prepared(name, _libc.syscall, number, *arguments)


def pivot_root(new_root: str) -> None:
    """Make the mount point `new_root` the root of this mount namespace, and detach the old root."""
    number = PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(f"pivot_root: no number known for {platform.machine()}")
    os.chdir(new_root)
    syscall(number, "pivot_root", b".", b".")
    call("umount2", b".", 2)  # MNT_DETACH: the old root is mounted over the new one until then
    os.chdir("/")


def _checked(name: str, function: Any, arguments: tuple[Any, ...]) -> int:
    result: int = function(*_widened(arguments))
    if result < 0:
        _raise(name)
    return result


def _widened(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(ctypes.c_long(value) if isinstance(value, int) else value for value in arguments)


def _raise(name: str) -> NoReturn:
    number = ctypes.get_errno()
    raise OSError(number, f"{name}: {os.strerror(number)}")
