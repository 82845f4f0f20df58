"""Restricts programs to a list of system calls; all others fail with EPERM.

libseccomp compiles the names to a filter for this machine's processor once, and each program's process loads the
filter. The list excludes calls that read or change state shared by all processes, which would let one run leave a
message for another. All jails see the same library files, so this includes locks on them, their presence in the page
cache, and futex waits in them.
"""

import contextlib
import ctypes
import errno
import os
import socket
import tempfile
from collections.abc import Callable, Sequence
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
# Answered with ENOSYS, so that the C library uses older calls. A filter cannot check the flags of clone3, and statx
# reveals mount ids that count all mounts of the machine.
NOT_THERE = "clone3 statx"
# Extended attributes: answered with ENOTSUP, so that Python copies files without them.
NOT_SUPPORTED = "listxattr llistxattr flistxattr getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr"
# Answered with success: a program's own files are in memory. On a library file these would wait for the disk.
WITHOUT_EFFECT = "fsync fdatasync msync"
# Executed programs may also use these.
EXECUTED = """
    fork vfork execve kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo setpgid set_tid_address
    futex fcntl flock madvise membarrier prlimit64 setrlimit getrusage sysinfo sched_setaffinity sched_getattr
    get_robust_list splice tee epoll_pwait2
"""
# Answered with success: with autogroups, a new session would get as much CPU time as the engine, at any nice value.
EXECUTED_WITHOUT_EFFECT = "setsid"
EXECUTED_NOT_THERE = "pidfd_open pidfd_send_signal io_uring_setup mbind get_mempolicy set_mempolicy userfaultfd"
# As below, and: death signal, dumpable, no new privileges, timer slack, subreaper, transparent huge pages.
EXECUTED_PRCTLS = (1, 3, 4, 15, 16, 29, 30, 36, 37, 38, 39, 41, 42, 0x53564D41)
NEW_NAMESPACES = 0x02000000 | 0x7E020000  # of cgroups; of mounts, UTS, IPC, users, PIDs and network
# Used by Python on terminals, pipes and files. Excludes TIOCSTI, which types into a terminal.
IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX
PRCTLS = (15, 16, 0x53564D41)  # names of threads, names of memory
# Descriptors and their flags. Excludes locks and leases, which other jails can see, and pipe sizes, whose sum per user
# is limited.
FCNTLS = (0, 1, 2, 3, 4, 1030)  # F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_DUPFD_CLOEXEC
# Free memory, choose large or small pages. Excludes loading or dropping pages of a file, and merging equal pages.
MADVICE = (4, 8, 14, 15, 16, 17, 102, 103)  # DONTNEED FREE HUGEPAGE NOHUGEPAGE DONTDUMP DODUMP GUARD_(INSTALL REMOVE)
SOCKET_OPTIONS = (3, 4, 38, 39)  # SO_TYPE SO_ERROR SO_PROTOCOL SO_DOMAIN; not SO_COOKIE, a global counter
LAST_CLOCK = 11  # higher ids are clocks of other processes
CLOCK_CALLS = ("clock_gettime", "clock_getres", "clock_nanosleep")
CLONE_THREAD = 0x00010000
MAP_HUGETLB = 0x40000  # from a pool shared by all processes
# Waking a shared futex fails. Waiting on one returns EAGAIN ("its value has changed"), so that the C library, which
# waits for the end of a thread this way, checks again. Another jail could end a real wait on a page of a library.
FUTEX_PRIVATE, FUTEX_OPERATION, FUTEX_WAITS = 0x80, 0xFF, (0, 9)  # FUTEX_WAIT FUTEX_WAIT_BITSET
BINARY_TREE = 2


class BpfProgram(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class Seccomp:
    """A compiled filter, ready to be loaded."""

    def __init__(self, executes: bool = False) -> None:
        """Raises OSError if libseccomp is missing or does not support this processor.

        `executes`: whether programs may start other programs and threads, as executed tasks do.
        """
        self._instructions = ctypes.create_string_buffer(compile_in_child(executes))
        self._program = BpfProgram(len(self._instructions) // 8, ctypes.addressof(self._instructions))

    def load(self) -> Callable[[], None]:
        """A prepared call that restricts its process permanently. The process must have set no_new_privs."""
        return prepared_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(self._program))


def compile_in_child(executes: bool) -> bytes:
    """Run compile_filter() in a child process, because modules imported by the binding would slow down every fork."""
    ours, theirs = os.pipe()
    helper = os.fork()
    if helper == 0:
        try:
            os.write(theirs, b"+" + compile_filter(executes))
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


def compile_filter(executes: bool = False) -> bytes:
    """The filter as BPF instructions of eight bytes each."""
    try:
        import pyseccomp as lib  # imported here because the import loads libseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise OSError(f"libseccomp: {error}") from None
    rules: Any = lib.SyscallFilter(lib.ERRNO(errno.EPERM))
    with contextlib.suppress(OSError, ValueError):  # libseccomp before 2.5
        rules.set_attr(lib.Attr.CTL_OPTIMIZE, BINARY_TREE)  # the kernel tries every number when a filter is loaded
    add_rules(lib, rules, executes)
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def add_rules(lib: Any, rules: Any, executes: bool) -> None:
    """Add a rule for each call that does not fail with EPERM."""
    if executes:
        add_rules_of_executed(lib, rules)
    else:
        add_rules_of_threads(lib, rules)
    for name in ALLOWED.split():
        add(lib, rules, lib.ALLOW, name)
    for name in NOT_THERE.split():
        add(lib, rules, lib.ERRNO(errno.ENOSYS), name)
    for name in NOT_SUPPORTED.split():
        add(lib, rules, lib.ERRNO(errno.ENOTSUP), name)
    for name in WITHOUT_EFFECT.split():
        add(lib, rules, lib.ERRNO(0), name)
    add_values(lib, rules, "socketpair", 0, (int(socket.AF_UNIX),))
    add_values(lib, rules, "ioctl", 1, IOCTLS)
    for option in SOCKET_OPTIONS:
        level = lib.Arg(1, lib.EQ, int(socket.SOL_SOCKET))
        add(lib, rules, lib.ALLOW, "getsockopt", level, lib.Arg(2, lib.EQ, option))
    for name in CLOCK_CALLS:
        add(lib, rules, lib.ALLOW, name, lib.Arg(0, lib.LE, LAST_CLOCK))
    add(lib, rules, lib.ALLOW, "mmap", lib.Arg(3, lib.MASKED_EQ, MAP_HUGETLB, 0))


def add_rules_of_threads(lib: Any, rules: Any) -> None:
    """Rules for programs in one process, which may start threads."""
    add_values(lib, rules, "prlimit64", 2, (0,))  # read only
    add_values(lib, rules, "prctl", 0, PRCTLS)
    add_values(lib, rules, "fcntl", 1, FCNTLS)
    add_values(lib, rules, "madvise", 2, MADVICE)
    add(lib, rules, lib.ALLOW, "clone", lib.Arg(0, lib.MASKED_EQ, CLONE_THREAD, CLONE_THREAD))
    add(lib, rules, lib.ALLOW, "futex", lib.Arg(1, lib.MASKED_EQ, FUTEX_PRIVATE, FUTEX_PRIVATE))
    for operation in FUTEX_WAITS:
        shared = lib.Arg(1, lib.MASKED_EQ, FUTEX_OPERATION, operation)
        add(lib, rules, lib.ERRNO(errno.EAGAIN), "futex", shared)


def add_rules_of_executed(lib: Any, rules: Any) -> None:
    """Rules for executed programs: compilers, virtual machines, and the processes that they start.

    Their verdicts do not depend on secrets between jails, because expected outputs never enter a jail. So calls whose
    state other jails can see, such as locks, are allowed where toolchains need them. Sockets stay refused.
    """
    for name in EXECUTED.split():
        add(lib, rules, lib.ALLOW, name)
    for name in EXECUTED_NOT_THERE.split():
        add(lib, rules, lib.ERRNO(errno.ENOSYS), name)
    for name in EXECUTED_WITHOUT_EFFECT.split():
        add(lib, rules, lib.ERRNO(0), name)
    add(lib, rules, lib.ERRNO(errno.EAFNOSUPPORT), "socket")
    add_values(lib, rules, "prctl", 0, EXECUTED_PRCTLS)
    add(lib, rules, lib.ALLOW, "clone", lib.Arg(0, lib.MASKED_EQ, NEW_NAMESPACES, 0))


def add_values(lib: Any, rules: Any, name: str, position: int, values: Sequence[int]) -> None:
    """Allow a call if one of its arguments has one of these values."""
    for value in values:
        add(lib, rules, lib.ALLOW, name, lib.Arg(position, lib.EQ, value))


def add(lib: Any, rules: Any, action: int, name: str, *arguments: Any) -> None:
    """Add a rule; skip names that do not exist on this processor."""
    try:
        rules.add_rule(action, name, *arguments)
    except (OSError, ValueError) as error:
        if lib.resolve_syscall(lib.system_arch(), name) >= 0:
            raise OSError(f"libseccomp: {name}: {error}") from None
