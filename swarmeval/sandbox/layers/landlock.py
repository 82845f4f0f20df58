"""Landlock: which files a program may read and write, and that it signals and reaches nobody outside.

See Documentation/userspace-api/landlock.rst of Linux. The rules are made once, in the jail; each program's
process then binds itself to them.
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

READ_FILE, READ_DIR, IOCTL_DEV = 1 << 2, 1 << 3, 1 << 15
READ = READ_FILE | READ_DIR
# Rights on files by the version that brought them: thirteen, REFER, TRUNCATE, IOCTL_DEV.
FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
OF_FILES_ONLY = 1 << 0 | 1 << 1 | READ_FILE | 1 << 14  # execute, write, read, truncate
BIND_TCP, CONNECT_TCP = 1, 2  # version 4
SCOPED_ABSTRACT_SOCKETS, SCOPED_SIGNALS = 1, 2  # version 6
RULE_PATH_BENEATH = 1
GET_VERSION = 1
OUT_OF_THE_WAY = 32  # a child has its channels on the first descriptors


class Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """Of the kernel's Landlock. Raises OSError where there is none."""
    return syscall(LANDLOCK_CREATE_RULESET, "landlock_create_ruleset", None, 0, GET_VERSION)


class Landlock:
    """Rules that allow reading beneath some places, but for others in them, and writing beneath one."""

    def __init__(self, places: Places, writable: str) -> None:
        """Places that do not exist are left out. Raises OSError where the kernel has no Landlock."""
        self.version = version()
        self._rights = FILE_RIGHTS[max(least for least in FILE_RIGHTS if least <= self.version)]
        net = BIND_TCP | CONNECT_TCP if self.version >= 4 else 0
        scoped = SCOPED_ABSTRACT_SOCKETS | SCOPED_SIGNALS if self.version >= 6 else 0
        attributes = Ruleset(self._rights, net, scoped)
        size = 8 if self.version < 4 else 16 if self.version < 6 else 24  # an older kernel refuses a longer one
        descriptor = syscall(LANDLOCK_CREATE_RULESET, "landlock_create_ruleset", ctypes.byref(attributes), size, 0)
        self._ruleset = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)
        os.close(descriptor)
        for place in places.readable:
            self._allow_but(place, places.hidden)
        for place in places.shown:
            self._allow(place, READ)
            self._allow(os.path.dirname(place), READ_DIR)  # noqa: PTH120 (to import is to list)
        if places.shown:
            self._allow("/dev/urandom", READ_FILE)  # torch wants it when it is imported
        self._allow("/dev/null", READ_FILE | 1 << 1)
        self._allow(writable, self._rights & ~(1 << 0 | IOCTL_DEV))  # all but to execute and to speak to devices

    def _allow_but(self, place: str, hidden: Sequence[str]) -> None:
        """Reading beneath a place. Rules only add rights: around what is hidden, each neighbour gets its own."""
        if not any(one == place or one.startswith(f"{place.rstrip('/')}/") for one in hidden):
            self._allow(place, READ)
        elif place not in hidden and os.path.isdir(place):  # noqa: PTH112
            self._allow(place, READ_DIR)  # to import is to list
            for entry in os.scandir(place):
                self._allow_but(entry.path, hidden)

    def restrict_self(self) -> Callable[[], None]:
        """A call that binds the process it is made in, which must have given up new privileges, for good."""
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
