"""Isolates jails in new namespaces of users, processes, network, IPC and mounts. See namespaces(7).

The first process in them is the jail; when it ends, the kernel kills all other processes in them.
"""

import contextlib
import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from swarmeval.sandbox.layers.kernel import MOUNT_SETATTR, call, pivot_root, syscall
from swarmeval.sandbox.layers.places import Places

NEW_NAMESPACES = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000  # mnt uts ipc user pid net
NAMES = "userns+pidns+netns+ipcns+mntns"
NOBODY = 65534  # the user that programs run as
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
MOUNT_READ_ONLY, MOUNT_NOSUID = 1, 2
AT_RECURSIVE = 0x8000
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
DEVICE_LINKS = {
    "/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}  # fmt: skip
DISK_MB, FILES = 64, 4096  # disk space and files per program
EXECUTED_DISK_MB = 512  # of an executed program, whose compiler writes there as well
OWN = "/own"  # contains the only writable folder
OWN_FOLDER = f"{OWN}/files"
OWN_NAMES = ("/tmp", "/scratch")  # its path for programs: the second if a readable place is beneath the first
FIRST_PID = 1


class Attributes(ctypes.Structure):
    """struct mount_attr."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "namespace"))


def unshare() -> None:
    """Create new namespaces. The next child is the first process in them. Raises OSError."""
    call("unshare", NEW_NAMESPACES)


def map_ids(pid: int) -> None:
    """Map the users of a process in new namespaces: root and nobody if we are root, otherwise only ourselves.

    Must be called from outside these namespaces. Raises OSError.
    """
    process = Path("/proc", str(pid))
    if os.geteuid() == 0:
        users = groups = f"0 0 1\n{NOBODY} {NOBODY} 1\n"
    else:
        users, groups = f"{NOBODY} {os.geteuid()} 1\n", f"{NOBODY} {os.getegid()} 1\n"
        (process / "setgroups").write_text("deny")
    (process / "uid_map").write_text(users)
    (process / "gid_map").write_text(groups)


def furnish(folder: str, places: Places, executes: bool = False) -> int | None:
    """Build a root from these places, read-only, and an empty folder; then change to this root.

    `folder`: the place to build it. `executes`: whether programs see their own processes in /proc. Returns a descriptor
    of the whole /proc of these namespaces, which programs cannot see, or None if it is not available. Raises OSError.
    """
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,nr_inodes=1k,mode=755")
    proc = open_proc(f"{folder}/proc")
    if executes and proc is not None:
        mount("proc", f"{folder}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "subset=pid,hidepid=invisible")
    for place in places.readable:
        bind(place, folder + place)
    for place in places.hidden:  # an empty folder over each
        size = "size=1m,nr_inodes=4k,mode=755" if places.shown else "size=4k,nr_inodes=2,mode=000"
        make_way(folder + place, is_folder=True)
        mount("tmpfs", folder + place, "tmpfs", MS_NOSUID | MS_NODEV, size)
    for place in places.shown:
        bind(place, folder + place)
    for place in places.hidden if places.shown else ():
        shut(folder + place, 0)
    for device in DEVICES:
        bind(device, folder + device)
    for name, target in DEVICE_LINKS.items() if executes else ():
        Path(folder + name).symlink_to(target)
    make_way(folder + OWN_FOLDER, is_folder=True)
    Path(folder + own_name(places.all_readable)).symlink_to(OWN_FOLDER)
    shut(folder, 0)
    pivot_root(folder)
    mount_own_folder(disk_mb(executes))
    return proc


def disk_mb(executes: bool) -> int:
    return EXECUTED_DISK_MB if executes else DISK_MB


def own_name(readable: Sequence[str]) -> str:
    """The path of the writable folder for programs. No readable place is beneath it."""
    first, second = OWN_NAMES
    return second if any(place.startswith(f"{first}/") for place in readable) else first


def mount_own_folder(size_mb: int) -> None:
    mount("tmpfs", OWN_FOLDER, "tmpfs", MS_NOSUID | MS_NODEV, f"size={size_mb}m,nr_inodes={FILES},mode=1777")


def renew_own_folder(size_mb: int) -> None:
    """Replace the writable file system by an empty one, which also resets the inode numbers."""
    call("umount2", OWN_FOLDER.encode(), MNT_DETACH)
    mount_own_folder(size_mb)


def open_last_pid(proc: int | None) -> int | None:
    """A descriptor of ns_last_pid, which holds the last process number of these namespaces; None if unavailable."""
    if proc is None:
        return None
    try:
        return os.open("sys/kernel/ns_last_pid", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
    except OSError:  # not in every kernel
        return None


def open_proc(place: str) -> int | None:
    """Open the /proc of this PID namespace and unmount it, so that only the descriptor gives access."""
    make_way(place, is_folder=True)
    try:
        mount("proc", place, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:  # in a container that hides parts of its own /proc
        return None
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    call("umount2", place.encode(), MNT_DETACH)
    return descriptor


def bind(place: str, at: str) -> None:
    """Bind-mount a place of the machine and the mounts beneath it, read-only."""
    if not os.path.lexists(place):
        return
    make_way(at, is_folder=os.path.isdir(place))  # noqa: PTH112
    mount(place, at, None, MS_BIND | MS_REC)
    if place not in DEVICES:
        shut(at, AT_RECURSIVE)


def shut(place: str, flags: int) -> None:
    """Make a mount read-only and keep its other attributes."""
    attributes = Attributes(MOUNT_READ_ONLY | MOUNT_NOSUID, 0, 0, 0)
    at_current = -100
    syscall(
        MOUNT_SETATTR, "mount_setattr", at_current, place.encode(), flags, ctypes.byref(attributes),
        ctypes.sizeof(attributes),
    )  # fmt: skip


def make_way(path: str, is_folder: bool) -> None:
    """Create a mount point if it does not exist."""
    with contextlib.suppress(FileExistsError):
        if is_folder:
            Path(path).mkdir(0o755, parents=True)
        else:
            Path(path).parent.mkdir(0o755, parents=True, exist_ok=True)
            Path(path).touch(exist_ok=False)


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [text.encode() if text is not None else None for text in (source, target, kind)]
    call("mount", *texts, flags, data.encode() if data is not None else None)
