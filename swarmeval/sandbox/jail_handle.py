"""The warden's handle of a jail: starts it, sends orders and receives answers.

If the kernel allows it, the jail is the first process of new namespaces. It ends when its link closes.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

from swarmeval.sandbox.executed.jail import ExecutionJail
from swarmeval.sandbox.frames import read_frame, write_frame
from swarmeval.sandbox.jail import Jail
from swarmeval.sandbox.layers import namespaces
from swarmeval.sandbox.layers.guard import Guard
from swarmeval.sandbox.layers.places import Places
from swarmeval.sandbox.layers.seccomp import Seccomp

REPORT_BYTES = 1 << 16
AT_ONCE_CHARS = 1 << 14  # always fits into the buffer of a channel


class SandboxFault(Exception):
    """The sandbox failed, not the program."""


class JailGone(SandboxFault):
    """A jail ended unexpectedly. Its program may have caused this."""


class JailHandle:
    """One jail and its current child."""

    def __init__(self, link: socket.socket, hello: dict[str, Any]) -> None:
        self.link = link
        self.in_force: list[str] = hello["in_force"]
        self.missing: dict[str, str] = hello["missing"]
        self.end: dict[str, Any] | None = None  # how the last child ended
        self._channel: socket.socket | None = None

    def start_child(
        self, kind: str, work: dict[str, str], timeout_s: float, memory_mb: int, peer: socket.socket | None = None
    ) -> None:
        """Start a child. `peer`: its socket to another child. Raises SandboxFault."""
        self.end = None
        ours, theirs = socket.socketpair()
        descriptors = [theirs.fileno()] + ([peer.fileno()] if peer is not None else [])
        is_short = sum(map(len, work.values())) < AT_ONCE_CHARS
        if is_short:
            write_frame(ours, work)  # in advance, because the child's clock runs from its start
        try:
            write_frame(self.link, {"kind": kind, "timeout_s": timeout_s, "memory_mb": memory_mb}, descriptors)
        except OSError as error:
            raise JailGone(f"its jail is gone: {error}") from None
        finally:
            theirs.close()
            if peer is not None:
                peer.close()
        self._channel = ours
        if not is_short:
            with contextlib.suppress(OSError):  # the child failed before it read; its report has the reason
                write_frame(ours, work)

    def receive(self) -> dict[str, Any]:
        """Receive the jail's next message about its child. Raises SandboxFault if the jail is gone or failed."""
        try:
            message = read_frame(self.link)
        except OSError:
            message = None
        if message is None:
            raise JailGone("its jail is gone")
        if "broken" in message[0]:
            self.report()
            raise SandboxFault(message[0]["broken"])
        if "end" in message[0]:
            self.end = message[0]
        return message[0]

    def receive_bytes(self, size: int) -> bytes:
        """Receive bytes that follow a message. Raises JailGone."""
        data = bytearray()
        while len(data) < size:
            try:
                piece = self.link.recv(min(size - len(data), 1 << 20))
            except OSError:
                piece = b""
            if not piece:
                raise JailGone("its jail is gone")
            data += piece
        return bytes(data)

    @property
    def channel(self) -> socket.socket:
        """The channel to the running child."""
        assert self._channel is not None
        return self._channel

    def restart_clock(self) -> None:
        """Give the running child its full time again."""
        self._send("restart clock")

    def stop(self) -> None:
        """Stop the child if it is running; receive() then returns how it ended."""
        self._send("stop")

    def limit(self) -> None:
        """Stop the child as if it had reached its limit."""
        self._send("limit")

    def request_waiting(self) -> None:
        """Request the time that the child waited for a free core; receive() will return {"waited_s"}."""
        self._send("report waiting")

    def _send(self, word: str) -> None:
        with contextlib.suppress(OSError):  # receive() reports the end of the jail
            write_frame(self.link, {word: True})

    def report(self) -> bytes:
        """Read what an ended child left in its channel, and close the channel."""
        channel, self._channel = self._channel, None
        if channel is None:
            return b""
        with channel:
            channel.setblocking(False)
            report = b""
            with contextlib.suppress(OSError):
                while len(report) < REPORT_BYTES and (piece := channel.recv(REPORT_BYTES)):
                    report += piece
            return report

    def close(self) -> None:
        self.report()
        self.link.close()


def open_jail(
    folder: str, places: Places, seccomp: Seccomp | None, layers: Collection[str], executes: bool = False
) -> JailHandle:
    """Start a jail with these layers, which can see these places and owns `folder`.

    `executes`: whether it runs commands, not functions of its own children. Raises SandboxFault if it cannot start.
    """
    Path(folder).mkdir(0o711, parents=True, exist_ok=True)
    ours, theirs = socket.socketpair()
    helper = os.fork()
    if helper == 0:
        ours.close()
        become_jail(theirs, folder, places, seccomp, layers, executes)
    theirs.close()
    unreaped = True
    try:
        if "namespaces" in layers:
            receive(ours)
            try:
                namespaces.map_ids(helper)
            except OSError as error:
                raise SandboxFault(f"namespaces: {error}") from None
            write_frame(ours, {})
            os.waitpid(helper, 0)  # the jail, its child, is now our child
            unreaped = False
            write_frame(ours, {})
        return JailHandle(ours, receive(ours))
    except (SandboxFault, OSError) as error:
        ours.close()
        if unreaped:
            os.kill(helper, signal.SIGKILL)
            os.waitpid(helper, 0)
        raise SandboxFault(str(error)) from None


def receive(link: socket.socket) -> dict[str, Any]:
    message = read_frame(link)
    if message is None or "broken" in message[0]:
        raise SandboxFault(message[0]["broken"] if message else "the jail ended during its start")
    return message[0]


def become_jail(
    link: socket.socket,
    folder: str,
    places: Places,
    seccomp: Seccomp | None,
    layers: Collection[str],
    executes: bool,
) -> NoReturn:
    """Enter the namespaces, report the active layers, and serve."""
    try:
        os.closerange(3, link.fileno())
        os.closerange(link.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        try:
            if "namespaces" in layers:
                namespaces.unshare()
                write_frame(link, {})
                if read_frame(link) is None or os.fork() != 0:
                    os._exit(0)
                read_frame(link)  # the helper has ended
            guard = Guard(seccomp, layers, executes)
            own_folder = guard.open(folder, places)
        except OSError as error:
            write_frame(link, {"broken": str(error)})
            os._exit(1)
        write_frame(link, {"in_force": guard.in_force(), "missing": guard.missing})
        kind = ExecutionJail if executes else Jail
        kind(link, guard, own_folder).serve()
    except SystemExit:
        pass
    finally:
        os._exit(0)
