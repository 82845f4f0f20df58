"""Landlock: restricts the files that a program may read and write, and blocks signals and connections to the outside.

See Documentation/userspace-api/landlock.rst of Linux. The jail creates the rules once, and each program's process
applies them to itself.
"""

import ctypes
import fcntl
import os
from collections.abc import Callable, Sequence

from swarmeval.sandbox.layers.kernel import (
    LANDLOCK_ADD_RULE,
    LANDLOCK_CREATE_RULESET,
    LANDLOCK_RESTRICT_SELF,
    prepared_syscall,
    syscall,
)
from swarmeval.sandbox.layers.places import Places

EXECUTE, READ_FILE, READ_DIR, IOCTL_DEV = 1 << 0, 1 << 2, 1 << 3, 1 << 15
READ = READ_FILE | READ_DIR
# All file rights by the version that introduced them: the first thirteen, REFER, TRUNCATE, IOCTL_DEV.
FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
OF_FILES_ONLY = EXECUTE | 1 << 1 | READ_FILE | 1 << 14  # execute, write, read, truncate
BIND_TCP, CONNECT_TCP = 1, 2  # version 4
SCOPED_ABSTRACT_SOCKETS, SCOPED_SIGNALS = 1, 2  # version 6
RULE_PATH_BENEATH = 1
GET_VERSION = 1
OUT_OF_THE_WAY = 32  # the first descriptors are the channels of a child


class Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The version of the kernel's Landlock. Raises OSError if it is not available."""
    return syscall(LANDLOCK_CREATE_RULESET, "landlock_create_ruleset", None, 0, GET_VERSION)


class Landlock:
    """Rules that allow reading beneath some places, except for hidden ones, and writing beneath one place."""

    def __init__(self, places: Places, writable: str, executes: bool = False) -> None:
        """Skips places that do not exist. Raises OSError if the kernel has no Landlock.

        `executes`: whether the files in these places may be executed.
        """
        self.version = version()
        self._read = READ | EXECUTE if executes else READ
        self._rights = FILE_RIGHTS[max(least for least in FILE_RIGHTS if least <= self.version)]
        net = BIND_TCP | CONNECT_TCP if self.version >= 4 else 0
        scoped = SCOPED_ABSTRACT_SOCKETS | SCOPED_SIGNALS if self.version >= 6 else 0
        attributes = Ruleset(self._rights, net, scoped)
        size = 8 if self.version < 4 else 16 if self.version < 6 else 24  # older kernels reject a longer structure
        descriptor = syscall(LANDLOCK_CREATE_RULESET, "landlock_create_ruleset", ctypes.byref(attributes), size, 0)
        self._ruleset = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)
        os.close(descriptor)
        for place in places.readable:
            self._allow_but(place, places.hidden)
        for place in places.shown:
            self._allow(place, self._read)
            self._allow(os.path.dirname(place), READ_DIR)  # noqa: PTH120 (imports list folders)
        if places.shown or executes:
            self._allow("/dev/urandom", READ_FILE)  # torch reads it during its import, the JVM when it starts
        self._allow("/dev/null", READ_FILE | 1 << 1)
        own = IOCTL_DEV if executes else IOCTL_DEV | EXECUTE
        self._allow(writable, self._rights & ~own)

    def _allow_but(self, place: str, hidden: Sequence[str]) -> None:
        """Allow reading beneath a place, except for hidden ones. Rules only add rights, so siblings get their own."""
        if not any(one == place or one.startswith(f"{place.rstrip('/')}/") for one in hidden):
            self._allow(place, self._read)
        elif place not in hidden and os.path.isdir(place):  # noqa: PTH112
            self._allow(place, READ_DIR)  # imports list folders
            for entry in os.scandir(place):
                self._allow_but(entry.path, hidden)

    def restrict_self(self) -> Callable[[], None]:
        """A prepared call that restricts its process permanently. The process must have set no_new_privs."""
        return prepared_syscall(LANDLOCK_RESTRICT_SELF, "landlock_restrict_self", self._ruleset, 0)

    def _allow(self, place: str, rights: int) -> None:
        try:
            parent = os.open(place, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            if not os.path.isdir(place):  # noqa: PTH112
                rights &= OF_FILES_ONLY
            rule = PathBeneath(rights & self._rights, parent)
            syscall(LANDLOCK_ADD_RULE, "landlock_add_rule", self._ruleset, RULE_PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(parent)
