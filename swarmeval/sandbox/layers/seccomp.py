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
import tempfile
from collections.abc import Callable
from itertools import product
from typing import Any

from swarmeval.sandbox.layers.kernel import PR_SET_SECCOMP, SECCOMP_MODE_FILTER, prepared_prctl

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
    """Add the rules of the tables: one per call and case."""
    from swarmeval.sandbox.layers import allowed_calls  # imported here, in the child, to keep the parent small

    compare = {"==": lib.EQ, "<=": lib.LE, "&": lib.MASKED_EQ}
    for calls in allowed_calls.rules(executes):
        action = lib.ALLOW if calls.answer is None else lib.ERRNO(calls.answer)
        for case, name in product(calls.cases(), calls.names.split()):
            values = [(one.mask, one.value) if one.mask else (one.value,) for one in case]
            arguments = zip(case, values, strict=True)
            add(lib, rules, action, name, *(lib.Arg(one.position, compare[one.compare], *v) for one, v in arguments))


def add(lib: Any, rules: Any, action: int, name: str, *arguments: Any) -> None:
    """Add a rule; skip names that do not exist on this processor."""
    try:
        rules.add_rule(action, name, *arguments)
    except (OSError, ValueError) as error:
        if lib.resolve_syscall(lib.system_arch(), name) >= 0:
            raise OSError(f"libseccomp: {name}: {error}") from None
