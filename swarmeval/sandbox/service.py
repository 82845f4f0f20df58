"""Runs a warden: from the start of its process to the end of its socket, with as many layers as the machine allows."""

import contextlib
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from swarmeval.sandbox.frames import read_frame, write_frame
from swarmeval.sandbox.jail import kill_children
from swarmeval.sandbox.jail_handle import JailHandle, SandboxFault
from swarmeval.sandbox.layers.guard import LAYERS
from swarmeval.sandbox.layers.kernel import PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, PR_SET_PDEATHSIG, prctl
from swarmeval.sandbox.layers.seccomp import Seccomp
from swarmeval.sandbox.priority import yield_to_all

PATIENCE_S = 2.0  # for jails to end their programs and remove their files
UMASK = 0o022  # independent of the user's: programs run as another user and must have access to their files
# Layers to omit, tried in turn until the trial program passes. "processes" limits their number. "user" runs programs of
# root as nobody, which cannot read an interpreter that only root can read.
WITHOUT = (
    (), ("processes",), ("user",), ("user", "processes"), ("namespaces",), ("namespaces", "processes"),
    ("namespaces", "user"), ("namespaces", "user", "processes"),
)  # fmt: skip

# Opens jails with these layers and runs a trial program in them; returns one of the jails and the result.
Try = Callable[[Seccomp | None, Collection[str]], tuple[JailHandle, dict[str, Any]]]


class NobodyWaits(ConnectionResetError):
    """The coordinator is gone or no longer wants the answer. Stopped children must not be waited for."""


class Service(Protocol):
    """A warden."""

    def open(self, mode: str) -> dict[str, Any]:
        """Open the jails; return the active and the missing layers, or why they cannot be opened."""

    def answer(self, request: dict[str, Any]) -> dict[str, Any]: ...

    def close(self) -> None: ...


def begin(yields: bool) -> None:
    """Prepare the process of a warden. `yields`: see Sandbox."""
    prctl(PR_SET_PDEATHSIG, signal.SIGCONT)  # first: a stopped warden would not notice that its socket closes
    os.umask(UMASK)
    if yields:
        yield_to_all()
    sys.argv = [""]


def serve(warden: Service, control: socket.socket, folder: str, mode: str) -> None:
    """Answer requests until the other end of the socket closes, then remove the folder."""
    try:
        write_frame(control, warden.open(mode))
        while (request := read_frame(control)) is not None:
            write_frame(control, warden.answer(request[0]))
    except (BrokenPipeError, ConnectionResetError):
        pass  # the coordinator is gone
    finally:
        warden.close()
        shutil.rmtree(folder, ignore_errors=True)


def open_with_most_layers(mode: str, executes: bool, attempt: Try) -> dict[str, Any]:
    """Open jails with as many layers as their trial program allows; return the active and the missing layers."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    all_layers = {"processes", "user", *(LAYERS if mode != "none" else ())}
    missing: dict[str, str] = {}
    seccomp = None
    reasons: list[str] = []
    if mode != "none":
        try:
            seccomp = Seccomp(executes)
        except OSError as error:
            missing["seccomp"] = f"{error}; install libseccomp (Debian: apt install libseccomp2)"
    for layers in dict.fromkeys(frozenset(all_layers - set(without)) for without in WITHOUT):
        try:
            jail, trial = attempt(seccomp, layers)
        except (OSError, SandboxFault) as error:
            reasons.append(str(error))
            continue
        if trial["outcome"] == "PASSED":
            prctl(PR_SET_DUMPABLE, 0)  # not earlier: mapping users requires a dumpable process
            missing |= jail.missing | dict.fromkeys(sorted(all_layers - layers), reasons[0] if reasons else "")
            return {"in_force": jail.in_force, "missing": missing}
        reasons.append(f"the trial program ended as {trial['outcome']}: {trial['detail']}")
    return {"broken": reasons[-1]}


def reap() -> None:
    """Reap jails that were closed before."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end_jails(jails: Iterable[JailHandle]) -> None:
    """End jails and their children, and wait for all children of this process.

    Without namespaces, a program can kill its jail. What the jail does not end becomes our child, and is killed.
    """
    for jail in jails:
        jail.close()
    os.killpg(0, signal.SIGCONT)  # a stopped jail would not end
    patient_until = time.monotonic() + PATIENCE_S
    with contextlib.suppress(ChildProcessError):
        while True:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                if time.monotonic() > patient_until:
                    kill_children()
                select.select([], [], [], 0.002)
