"""A list of the system calls that a program may make. All others are refused with EPERM.

libseccomp, through its Python binding, compiles the list once into a filter for this machine's processor. Each
program's process then loads the filter. The list leaves out calls that read or change state which the kernel keeps for
all processes together: one run could use such state to tell another something. All jails see the same library files.
So that state includes locks on these files, which of their pages are in memory, and futexes in them.
"""

import contextlib
import ctypes
import errno
import os
import socket
import tempfile
from collections.abc import Callable
from typing import Any

from swarmeval.sandbox.layers.kernel import PR_SET_SECCOMP, SECCOMP_MODE_FILTER, prepared_prctl

ALLOWED = """
    read write readv writev pread64 pwrite64 preadv pwritev lseek
    open openat close close_range creat dup dup2 dup3 truncate ftruncate fallocate
    sendfile copy_file_range stat fstat lstat newfstatat statfs fstatfs access faccessat faccessat2
    getdents getdents64 getcwd chdir fchdir rename renameat renameat2 mkdir mkdirat rmdir link linkat unlink unlinkat
    symlink symlinkat readlink readlinkat chmod fchmod fchmodat umask utime utimes utimensat futimesat
    pipe pipe2 select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd eventfd2
    mprotect munmap mremap brk
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack pause
    set_robust_list rseq sched_yield sched_getaffinity sched_getparam
    sched_getscheduler sched_get_priority_max sched_get_priority_min getpriority getcpu arch_prctl restart_syscall
    nanosleep gettimeofday time times alarm getitimer setitimer
    timer_create timer_settime timer_gettime timer_getoverrun timer_delete
    timerfd_create timerfd_settime timerfd_gettime
    getpid getppid gettid getuid geteuid getgid getegid getgroups getresuid getresgid getpgrp getpgid getsid
    uname getrlimit getrandom capget wait4 waitid exit exit_group
    sendto recvfrom recvmsg shutdown getsockname getpeername
"""
# Answered with ENOSYS, so that the C library uses older calls. A filter cannot see the flags of clone3. statx returns
# mount numbers, which count for the whole machine.
NOT_THERE = "clone3 statx"
# Extended attributes. Answered with ENOTSUP, so that Python copies files without them.
NOT_SUPPORTED = "listxattr llistxattr flistxattr getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr"
# Answered with success. A program's own files are in memory; on a library file, these calls would wait for a disk.
WITHOUT_EFFECT = "fsync fdatasync msync"
# Python's queries of terminals, pipes and files. Not TIOCSTI, which types into a terminal.
IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX
PRCTLS = (15, 16, 0x53564D41)  # names of threads and of memory areas
# Descriptors and their flags. Not locks and leases, which other jails see. Not sizes of pipes, whose sum per user is
# limited.
FCNTLS = (0, 1, 2, 3, 4, 1030)  # F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_DUPFD_CLOEXEC
# Freeing memory, and the size of pages. Not loading or dropping pages of a file, nor merging equal pages.
MADVICE = (4, 8, 14, 15, 16, 17, 102, 103)  # DONTNEED FREE HUGEPAGE NOHUGEPAGE DONTDUMP DODUMP GUARD_(INSTALL REMOVE)
SOCKET_OPTIONS = (3, 4, 38, 39)  # SO_TYPE SO_ERROR SO_PROTOCOL SO_DOMAIN; not SO_COOKIE, a counter of the whole machine
LAST_CLOCK = 11  # higher numbers are the clocks of other processes
CLOCK_CALLS = ("clock_gettime", "clock_getres", "clock_nanosleep")
CLONE_THREAD = 0x00010000
MAP_HUGETLB = 0x40000  # takes pages from a pool that all processes share
# Waking a shared futex is refused. Waiting on one returns EAGAIN, "the value has changed". The C library waits for the
# end of a thread this way, and then checks again. Another jail could end a real wait on a library's page.
FUTEX_PRIVATE, FUTEX_OPERATION, FUTEX_WAITS = 0x80, 0xFF, (0, 9)  # FUTEX_WAIT FUTEX_WAIT_BITSET
BINARY_TREE = 2


class BpfProgram(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class Seccomp:
    """A compiled filter, ready to be loaded."""

    def __init__(self) -> None:
        """Raises OSError if libseccomp is not found or does not know this processor."""
        self._instructions = ctypes.create_string_buffer(compile_in_child())
        self._program = BpfProgram(len(self._instructions) // 8, ctypes.addressof(self._instructions))

    def load(self) -> Callable[[], None]:
        """A call that binds its process to the filter permanently. The process must have set no_new_privs."""
        return prepared_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(self._program))


def compile_in_child() -> bytes:
    """Run compile_filter() in a child process: the modules that the binding imports would slow down every fork."""
    ours, theirs = os.pipe()
    helper = os.fork()
    if helper == 0:
        try:
            os.write(theirs, b"+" + compile_filter())
        except OSError as error:
            os.write(theirs, b"-" + str(error).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:  # noqa: PTH123
        word, text = pipe.read(1), pipe.read()
    os.waitpid(helper, 0)
    if word != b"+":
        raise OSError(text.decode(errors="replace") or "the filter could not be compiled")
    return text


def compile_filter() -> bytes:
    """The filter as instructions of the kernel's packet filter, eight bytes each."""
    try:
        import pyseccomp as lib  # imported here, since the import itself looks for libseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise OSError(f"libseccomp: {error}") from None
    rules: Any = lib.SyscallFilter(lib.ERRNO(errno.EPERM))
    with contextlib.suppress(OSError, ValueError):  # libseccomp before 2.5 lacks it
        rules.set_attr(lib.Attr.CTL_OPTIMIZE, BINARY_TREE)  # the kernel tests every call number when it loads a filter
    add_rules(lib, rules)
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def add_rules(lib: Any, rules: Any) -> None:
    """Add a rule for every call that is not refused."""
    for name in ALLOWED.split():
        add(lib, rules, lib.ALLOW, name)
    for name in NOT_THERE.split():
        add(lib, rules, lib.ERRNO(errno.ENOSYS), name)
    for name in NOT_SUPPORTED.split():
        add(lib, rules, lib.ERRNO(errno.ENOTSUP), name)
    for name in WITHOUT_EFFECT.split():
        add(lib, rules, lib.ERRNO(0), name)
    for name, position, values in (
        ("socketpair", 0, (int(socket.AF_UNIX),)),
        ("prlimit64", 2, (0,)),  # reads limits, does not set them
        ("ioctl", 1, IOCTLS),
        ("prctl", 0, PRCTLS),
        ("fcntl", 1, FCNTLS),
        ("madvise", 2, MADVICE),
    ):
        for value in values:
            add(lib, rules, lib.ALLOW, name, lib.Arg(position, lib.EQ, value))
    for option in SOCKET_OPTIONS:
        level = lib.Arg(1, lib.EQ, int(socket.SOL_SOCKET))
        add(lib, rules, lib.ALLOW, "getsockopt", level, lib.Arg(2, lib.EQ, option))
    for name in CLOCK_CALLS:
        add(lib, rules, lib.ALLOW, name, lib.Arg(0, lib.LE, LAST_CLOCK))
    add(lib, rules, lib.ALLOW, "clone", lib.Arg(0, lib.MASKED_EQ, CLONE_THREAD, CLONE_THREAD))
    add(lib, rules, lib.ALLOW, "mmap", lib.Arg(3, lib.MASKED_EQ, MAP_HUGETLB, 0))
    add(lib, rules, lib.ALLOW, "futex", lib.Arg(1, lib.MASKED_EQ, FUTEX_PRIVATE, FUTEX_PRIVATE))
    for operation in FUTEX_WAITS:
        shared = lib.Arg(1, lib.MASKED_EQ, FUTEX_OPERATION, operation)
        add(lib, rules, lib.ERRNO(errno.EAGAIN), "futex", shared)


def add(lib: Any, rules: Any, action: int, name: str, *arguments: Any) -> None:
    """Add a rule. Calls that this processor does not have are skipped."""
    try:
        rules.add_rule(action, name, *arguments)
    except (OSError, ValueError) as error:
        if lib.resolve_syscall(lib.system_arch(), name) >= 0:
            raise OSError(f"libseccomp: {name}: {error}") from None
