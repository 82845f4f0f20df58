"""The tables of allowed system calls, which the filter and the manual share."""

import pytest

from scripts.manual_sandbox import calls_in_one_process, calls_of_all, calls_of_executed
from swarmeval.sandbox.layers import allowed_calls
from swarmeval.sandbox.layers.allowed_calls import ALL, EXECUTED, IN_ONE_PROCESS, Calls

REACHING_OUT = """
    ptrace process_vm_readv mount umount2 pivot_root unshare setns bpf perf_event_open keyctl add_key memfd_create
    io_uring_enter execveat connect bind listen accept accept4 sendmsg sendmmsg inotify_init1 fanotify_init mincore
    setresuid setuid capset chown chroot open_by_handle_at name_to_handle_at kcmp pidfd_getfd shmget msgget semget
"""


def allowed(executes: bool) -> list[Calls]:
    return [calls for calls in allowed_calls.rules(executes) if calls.answer is None]


def test_every_name_is_a_system_call() -> None:
    """The filter skips unknown names, because processors differ. So a slip would refuse a call silently."""
    seccomp = pytest.importorskip("pyseccomp")
    if seccomp.system_arch() != seccomp.Arch.X86_64:
        pytest.skip("names of older calls exist on x86_64 only")
    names = {name for calls in (*ALL, *IN_ONE_PROCESS, *EXECUTED) for name in calls.names.split()}
    assert [name for name in sorted(names) if seccomp.resolve_syscall(seccomp.system_arch(), name) < 0] == []


@pytest.mark.parametrize("executes", [False, True])
def test_no_table_allows_a_call_that_reaches_out_of_the_jail(executes: bool) -> None:
    names = {name for calls in allowed(executes) for name in calls.names.split()}
    assert names.isdisjoint(REACHING_OUT.split())
    assert "read" in names


@pytest.mark.parametrize("executes", [False, True])
def test_a_call_has_one_unconditional_answer_at_most(executes: bool) -> None:
    names = [name for calls in allowed_calls.rules(executes) if calls.cases() == ((),) for name in calls.names.split()]
    assert len(names) == len(set(names))


def test_the_manual_has_a_reason_for_each_row() -> None:
    rows = [
        line for part in (calls_of_all(), calls_in_one_process(), calls_of_executed()) for line in part.splitlines()
    ]
    rows = [line for line in rows if line.startswith("| `")]
    assert len(rows) == len((*ALL, *IN_ONE_PROCESS, *EXECUTED))
    assert all(line.count("|") == 5 and len(line.rsplit("|", 2)[1].strip()) > 10 for line in rows)
    conditional = [row for row in (*ALL, *IN_ONE_PROCESS, *EXECUTED) if row.cases() != ((),)]
    assert sum("argument " in line for line in rows) == len(conditional)
