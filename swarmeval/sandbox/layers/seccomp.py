"""The system calls that a program may make: a list, and everything else is refused with EPERM.

libseccomp, through its binding, turns the names into a filter for this machine's processor once; each program's process
then loads it. What tells whether a page is in memory, or throws it out, is not on the list: that outlives a program.
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
    open openat close close_range creat dup dup2 dup3 fcntl flock fsync fdatasync truncate ftruncate fallocate
    sendfile copy_file_range stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2
    getdents getdents64 getcwd chdir fchdir rename renameat renameat2 mkdir mkdirat rmdir link linkat unlink unlinkat
    symlink symlinkat readlink readlinkat chmod fchmod fchmodat umask utime utimes utimensat futimesat
    pipe pipe2 select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd eventfd2
    mmap mprotect munmap mremap madvise msync brk membarrier
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack pause
    futex set_robust_list get_robust_list set_tid_address rseq sched_yield sched_getaffinity sched_getparam
    sched_getscheduler sched_get_priority_max sched_get_priority_min getpriority getcpu arch_prctl restart_syscall
    nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times alarm getitimer setitimer
    timer_create timer_settime timer_gettime timer_getoverrun timer_delete
    timerfd_create timerfd_settime timerfd_gettime
    getpid getppid gettid getuid geteuid getgid getegid getgroups getresuid getresgid getpgrp getpgid getsid
    uname sysinfo getrusage getrlimit getrandom capget wait4 waitid exit exit_group
    sendto recvfrom sendmsg recvmsg shutdown getsockname getpeername getsockopt
"""
# What Python asks a terminal, a pipe or a file about; not TIOCSTI, which types into a terminal.
IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX
PRCTLS = (15, 16, 0x53564D41)  # names of threads, names of memory
CLONE_THREAD = 0x00010000
BINARY_TREE = 2


class BpfProgram(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class Seccomp:
    """The filter, ready to be loaded."""

    def __init__(self) -> None:
        """Raises OSError where libseccomp cannot be found or does not know this processor."""
        self._instructions = ctypes.create_string_buffer(compile_in_child())
        self._program = BpfProgram(len(self._instructions) // 8, ctypes.addressof(self._instructions))

    def load(self) -> Callable[[], None]:
        """A call that binds the process it is made in, which must have given up new privileges, for good."""
        return prepared_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(self._program))


def compile_in_child() -> bytes:
    """compile_filter() in a child process: the modules that the binding imports would make every fork dearer."""
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
        raise OSError(text.decode(errors="replace") or "the filter could not be made")
    return text


def compile_filter() -> bytes:
    """The filter as instructions of the kernel's packet filter, eight bytes each."""
    try:
        import pyseccomp as lib  # here: it looks for the library when it is imported
    except (ImportError, RuntimeError, OSError) as error:
        raise OSError(f"libseccomp: {error}") from None
    rules: Any = lib.SyscallFilter(lib.ERRNO(errno.EPERM))
    with contextlib.suppress(OSError, ValueError):  # libseccomp before 2.5
        rules.set_attr(lib.Attr.CTL_OPTIMIZE, BINARY_TREE)  # the kernel tries each number when a filter is loaded
    for name in ALLOWED.split():
        add(lib, rules, lib.ALLOW, name)
    add(lib, rules, lib.ERRNO(errno.ENOSYS), "clone3")  # its flags lie in memory: the C library then calls clone
    add(lib, rules, lib.ALLOW, "clone", lib.Arg(0, lib.MASKED_EQ, CLONE_THREAD, CLONE_THREAD))
    add(lib, rules, lib.ALLOW, "socketpair", lib.Arg(0, lib.EQ, int(socket.AF_UNIX)))
    add(lib, rules, lib.ALLOW, "prlimit64", lib.Arg(2, lib.EQ, 0))  # to read, not to set
    for request in IOCTLS:
        add(lib, rules, lib.ALLOW, "ioctl", lib.Arg(1, lib.EQ, request))
    for option in PRCTLS:
        add(lib, rules, lib.ALLOW, "prctl", lib.Arg(0, lib.EQ, option))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def add(lib: Any, rules: Any, action: int, name: str, *arguments: Any) -> None:
    """A rule; names that this processor does not have are passed over."""
    try:
        rules.add_rule(action, name, *arguments)
    except (OSError, ValueError) as error:
        if lib.resolve_syscall(lib.system_arch(), name) >= 0:
            raise OSError(f"libseccomp: {name}: {error}") from None
