"""The worker process: serves one replica over an inherited socket. `python -m swarmeval.workers.process FD`.

It exits if the socket is closed or the coordinator ends.
"""

import ctypes
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator

from swarmeval import secrets
from swarmeval.workers import placement
from swarmeval.workers.serve_loop import load, serve, traced
from swarmeval.workers.wire import HEADER, Fatal, FromWorker, Start, ToWorker, frame, read_to_worker


class SocketConnection:
    """The worker's end of the socket, blocking."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, message: FromWorker) -> None:
        self._sock.sendall(frame(message))

    def receive(self) -> ToWorker:
        """Wait for the next message. Raises EOFError if the coordinator is gone."""
        (length,) = HEADER.unpack(self._exactly(HEADER.size))
        return read_to_worker(self._exactly(length))

    def arrived(self, block: bool) -> Iterator[ToWorker]:
        """Yield the messages that have arrived; with `block`, wait for at least one."""
        while block or select.select([self._sock], [], [], 0)[0]:
            yield self.receive()
            block = False

    def _exactly(self, length: int) -> bytes:
        body = bytearray()
        while len(body) < length:
            piece = self._sock.recv(length - len(body))
            if not piece:
                raise EOFError
            body += piece
        return bytes(body)


def main() -> int:
    die_with_parent()
    placement.apply(os.environ)
    secrets.guard()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator handles Ctrl-C
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
    connection = SocketConnection(socket.socket(fileno=int(sys.argv[1])))
    try:
        start = connection.receive()
        if not isinstance(start, Start):
            raise TypeError(f"the first message must be Start, found {type(start).__name__}")
        with traced(start.spec.trace) as phases:
            replica = load(start, connection, phases)
            if replica is None:
                return 1
            serve(replica, connection, phases)
    except (EOFError, ConnectionError):
        return 0  # the coordinator is gone
    except Exception as error:
        # Catches everything, because the reason must reach the coordinator before the process exits.
        first_line = (str(error).splitlines() or [""])[0]
        connection.send(Fatal(f"{type(error).__name__}: {first_line}"))
        raise
    return 0


PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Make the kernel kill this process when its parent ends. A no-op except on Linux."""
    parent = os.getppid()
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "prctl"):
        return
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before prctl() took effect
        os._exit(1)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # skips the slow teardown of the model
