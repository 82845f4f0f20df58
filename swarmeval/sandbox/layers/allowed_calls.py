"""The system calls that programs may make, each with its reason. All others fail with EPERM.

`seccomp.py` compiles these tables to a filter, and the page "Sandbox audit" of the manual shows them.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MAP_HUGETLB = 0x40000
CLONE_THREAD = 0x00010000
NEW_NAMESPACES = 0x02000000 | 0x7E020000  # of cgroups; of mounts, UTS, IPC, users, PIDs and network
FUTEX_PRIVATE, FUTEX_OPERATION = 0x80, 0xFF
AF_UNIX, SOL_SOCKET = 1, 1
PR_SET_VMA = 0x53564D41
SUCCESS = 0


@dataclass(frozen=True, slots=True)
class Check:
    """A condition on one argument of a call."""

    position: int  # 0 is the first argument
    compare: Literal["==", "<=", "&"]  # "&": the bits of `mask` must equal `value`
    value: int
    name: str  # the kernel's name of the value
    mask: int = 0


@dataclass(frozen=True, slots=True)
class Calls:
    """System calls with one answer for one reason."""

    names: str  # separated by spaces
    reason: str
    answer: int | None = None  # None: the call is allowed; SUCCESS: nothing is done; otherwise an errno
    only: tuple[Check, ...] = ()  # all must hold
    values: Mapping[int, str] = field(default_factory=dict)  # of the argument at `position`; one of them must hold
    position: int = 0

    def cases(self) -> tuple[tuple[Check, ...], ...]:
        """The checks of each rule for the filter."""
        if not self.values:
            return (self.only,)
        return tuple((*self.only, Check(self.position, "==", value, name)) for value, name in self.values.items())


# For all programs. The mounts and Landlock decide which files they can open.
ALL = (
    Calls("read readv write writev pread64 pwrite64 preadv pwritev lseek",
          "read and write files, pipes and sockets that are already open"),
    Calls("open openat close close_range creat dup dup2 dup3 truncate ftruncate fallocate",
          "open, close and resize files; a program can write only in its own folder, which has a size limit"),
    Calls("sendfile copy_file_range", "copy files as Python's shutil does"),
    Calls("stat fstat lstat newfstatat statfs fstatfs access faccessat faccessat2", "facts about visible files"),
    Calls("getdents getdents64 getcwd chdir fchdir", "list visible folders, as imports do"),
    Calls("rename renameat renameat2 mkdir mkdirat rmdir link linkat unlink unlinkat symlink symlinkat readlink "
          "readlinkat chmod fchmod fchmodat umask utime utimes utimensat futimesat",
          "change its own folder, which is removed after the program"),
    Calls("pipe pipe2 select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd "
          "eventfd2", "asyncio, queues and threads need them; the number of open files is limited"),
    Calls("mprotect munmap mremap brk", "its own memory, within the memory limit"),
    Calls("rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack pause",
          "handle signals that it receives; it can send none with these"),
    Calls("set_robust_list rseq sched_yield sched_getaffinity sched_getparam sched_getscheduler "
          "sched_get_priority_max sched_get_priority_min getpriority getcpu arch_prctl restart_syscall",
          "the C library needs them for its start and for threads; they change nothing outside the thread"),
    Calls("nanosleep gettimeofday time times alarm getitimer setitimer", "sleep and measure its own time"),
    Calls("timer_create timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime "
          "timerfd_gettime", "timers; their number is limited per jail"),
    Calls("getpid getppid gettid getuid geteuid getgid getegid getgroups getresuid getresgid getpgrp getpgid getsid",
          "its own process, user and group IDs; with namespaces, they are the same in every run of a jail"),
    Calls("uname getrlimit",
          "the kernel's version and the program's limits; Python's modules platform and resource read them"),
    Calls("getrandom", "random numbers"),
    Calls("capget", "its own capabilities; a program has none"),
    Calls("wait4 waitid exit exit_group", "end itself and wait for its own children"),
    Calls("sendto recvfrom recvmsg shutdown getsockname getpeername",
          "use its own socket pair; sendmsg, which can pass descriptors on, is refused"),
    Calls("clone3", "a filter cannot check its flags; the C library then uses clone", errno.ENOSYS),
    Calls("statx", "it reveals mount numbers, which count all mounts of the machine; the C library then uses stat",
          errno.ENOSYS),
    Calls("listxattr llistxattr flistxattr getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr",
          "extended attributes are not supported; Python then copies files without them", errno.ENOTSUP),
    Calls("fsync fdatasync msync",
          "its own files are in memory; on a library file, these would wait for the machine's disk", SUCCESS),
    Calls("socketpair", "asyncio wakes its loop with it; other families reach outside", values={AF_UNIX: "AF_UNIX"}),
    Calls("ioctl", "Python uses these on files and pipes; TIOCSTI, which types into a terminal, is refused", position=1,
          values={0x5401: "TCGETS", 0x5413: "TIOCGWINSZ", 0x541B: "FIONREAD", 0x5421: "FIONBIO", 0x5450: "FIONCLEX",
                  0x5451: "FIOCLEX"}),
    Calls("getsockopt", "the kind of a socket; SO_COOKIE, a counter of the machine, is refused", position=2,
          only=(Check(1, "==", SOL_SOCKET, "SOL_SOCKET"),),
          values={3: "SO_TYPE", 4: "SO_ERROR", 38: "SO_PROTOCOL", 39: "SO_DOMAIN"}),
    Calls("clock_gettime clock_getres clock_nanosleep", "the time; higher numbers are clocks of other processes",
          only=(Check(0, "<=", 11, "CLOCK_TAI"),)),
    Calls("mmap", "memory and mapped files; large pages come from a pool that all processes share",
          only=(Check(3, "&", 0, "no MAP_HUGETLB", MAP_HUGETLB),)),
)  # fmt: skip

# For programs whose tests call them: one process, with threads.
IN_ONE_PROCESS = (
    Calls("prlimit64", "read its limits; a new limit is refused", position=2, values={0: "no new limit"}),
    Calls("prctl", "names of threads and memory areas", values={
        15: "PR_SET_NAME", 16: "PR_GET_NAME", PR_SET_VMA: "PR_SET_VMA"}),
    Calls("fcntl", "descriptors and their flags; locks and leases would be visible to other jails, and pipe sizes "
          "share a limit per user", position=1,
          values={0: "F_DUPFD", 1: "F_GETFD", 2: "F_SETFD", 3: "F_GETFL", 4: "F_SETFL", 1030: "F_DUPFD_CLOEXEC"}),
    Calls("madvise", "free memory and choose page sizes; loading or dropping pages of a file, and merging equal "
          "pages, would be visible to other jails", position=2,
          values={4: "MADV_DONTNEED", 8: "MADV_FREE", 14: "MADV_HUGEPAGE", 15: "MADV_NOHUGEPAGE", 16: "MADV_DONTDUMP",
                  17: "MADV_DODUMP", 102: "MADV_GUARD_INSTALL", 103: "MADV_GUARD_REMOVE"}),
    Calls("clone", "threads, but not processes", only=(Check(0, "&", CLONE_THREAD, "CLONE_THREAD", CLONE_THREAD),)),
    Calls("futex", "threads wait for each other; another jail could wake a shared futex in a page of a library",
          only=(Check(1, "&", FUTEX_PRIVATE, "FUTEX_PRIVATE_FLAG", FUTEX_PRIVATE),)),
    Calls("futex", "the C library waits for the end of a thread this way; the answer means that the value has "
          "changed, and it checks again", errno.EAGAIN, only=(Check(1, "&", 0, "FUTEX_WAIT", FUTEX_OPERATION),)),
    Calls("futex", "the same as FUTEX_WAIT, with a set of bits", errno.EAGAIN,
          only=(Check(1, "&", 9, "FUTEX_WAIT_BITSET", FUTEX_OPERATION),)),
)  # fmt: skip

# For executed programs: compilers, virtual machines, and the processes that they start. Expected outputs never enter
# their jails, so calls whose state other jails can see, such as locks, are allowed where toolchains need them.
EXECUTED = (
    Calls("fork vfork execve", "compilers and shells start programs; the jail limits their number and memory"),
    Calls("kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo",
          "signals to its own processes; the PID namespace contains no others"),
    Calls("setpgid set_tid_address",
          "shells put their jobs into groups; the C library calls the second in each new process"),
    Calls("futex fcntl flock", "locks of virtual machines and compilers, also on files"),
    Calls("madvise membarrier", "memory management of virtual machines"),
    Calls("prlimit64 setrlimit", "virtual machines lower or read limits; hard limits cannot be raised without rights"),
    Calls("getrusage sysinfo sched_setaffinity sched_getattr get_robust_list",
          "virtual machines choose their sizes by these and measure; they show the load of the machine"),
    Calls("splice tee epoll_pwait2", "copy between pipes, and wait for events"),
    Calls("pidfd_open pidfd_send_signal io_uring_setup mbind get_mempolicy set_mempolicy userfaultfd",
          "toolchains try these and work without them", errno.ENOSYS),
    Calls("setsid", "with autogroups, a new session would get as much CPU time as the engine", SUCCESS),
    Calls("socket", "no network; the answer is the one for a missing protocol family", errno.EAFNOSUPPORT),
    Calls("prctl", "what runtimes set for their own process; a filter of their own or new rights are refused", values={
        1: "PR_SET_PDEATHSIG", 3: "PR_GET_DUMPABLE", 4: "PR_SET_DUMPABLE", 15: "PR_SET_NAME", 16: "PR_GET_NAME",
        29: "PR_SET_TIMERSLACK", 30: "PR_GET_TIMERSLACK", 36: "PR_SET_CHILD_SUBREAPER", 37: "PR_GET_CHILD_SUBREAPER",
        38: "PR_SET_NO_NEW_PRIVS", 39: "PR_GET_NO_NEW_PRIVS", 41: "PR_SET_THP_DISABLE", 42: "PR_GET_THP_DISABLE",
        PR_SET_VMA: "PR_SET_VMA"}),
    Calls("clone", "processes and threads, but not namespaces",
          only=(Check(0, "&", 0, "no CLONE_NEW*", NEW_NAMESPACES),)),
)  # fmt: skip


def rules(executes: bool) -> tuple[Calls, ...]:
    """The tables of one kind of program."""
    return (*(EXECUTED if executes else IN_ONE_PROCESS), *ALL)
