"""What runs inside a worker process: one replica, fed from an inherited socket. `python -m workers.process FD`.

It outlives no coordinator: the end of the socket, or of the parent, is its own end.
"""

import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from bench import secrets
from bench.errors import DeviceError, ModelUnavailable, UserError
from watch.flame import Flame, flame_path
from watch.processes import memory_mb
from watch.spans import SpanFile, spans_path
from workers import placement
from workers.death import die_with_parent
from workers.phases import DECODE, IDLE, Phases, RecordedPhases
from workers.protocol import Replica
from workers.replica import make_replica
from workers.replica_spec import TraceSpec
from workers.wire import (
    HEADER,
    Answers,
    Drain,
    Dropped,
    Fatal,
    Finish,
    FromWorker,
    LoadFailed,
    Ready,
    Start,
    Submit,
    ToWorker,
    frame,
    read_to_worker,
)

PROGRESS_EVERY_S = 1.0


class Line:
    """The worker's end of the socket, blocking."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, message: FromWorker) -> None:
        self._sock.sendall(frame(message))

    def receive(self) -> ToWorker:
        """The next message. Raises EOFError when the coordinator is gone."""
        (length,) = HEADER.unpack(self._exactly(HEADER.size))
        return read_to_worker(self._exactly(length))

    def waiting(self, block: bool) -> Iterator[ToWorker]:
        """What has arrived; with `block`, at least one message."""
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


def serve(replica: Replica, line: Line, phases: Phases) -> None:
    """Answer requests until the coordinator hangs up, or wants an end."""
    told_at = 0.0
    while True:
        if idle := not replica.busy():
            phases.enter(IDLE)
        for message in line.waiting(block=idle):
            if isinstance(message, Finish):
                return
            obey(message, replica, line)
        if replica.busy():
            phases.enter(DECODE)  # an engine says when it reads prompts instead
            if answers := replica.step():
                line.send(Answers(tuple(answers)))
        if time.monotonic() - told_at >= PROGRESS_EVERY_S:
            told_at = time.monotonic()
            line.send(replica.progress())


def obey(message: ToWorker, replica: Replica, line: Line) -> None:
    if isinstance(message, Submit):
        for request in message.requests:
            replica.submit(request)
    elif isinstance(message, Drain):
        line.send(Dropped(tuple(replica.drop_waiting())))


@contextmanager
def traced(trace: TraceSpec | None) -> Iterator[Phases]:
    """What listens to the phases of this process while the block runs, and writes them down where it is traced."""
    if trace is None:
        yield Phases()
        return
    folder = Path(trace.folder)
    file = SpanFile(spans_path(folder, trace.device), trace.session, trace.origin_ns)
    flame = Flame(flame_path(folder, trace.device, trace.session))
    phases = RecordedPhases(file, flame.rest)
    try:
        yield phases
    finally:
        phases.close()
        flame.write()


def load(start: Start, line: Line, phases: Phases) -> Replica | None:
    """The replica asked for; None when it could not be loaded, which the coordinator then knows."""
    before = memory_mb(os.getpid())
    try:
        replica = make_replica(start.spec, start.life, phases)
    except ModelUnavailable as error:
        line.send(LoadFailed(str(error), "ModelUnavailable"))
    except DeviceError as error:
        line.send(LoadFailed(str(error), "DeviceError"))
    except UserError as error:
        line.send(LoadFailed(str(error), ""))
    else:
        line.send(Ready(replace(replica.info(), before_load_mb=None if before is None else before[0])))
        return replica
    return None


def main() -> int:
    die_with_parent()
    placement.take(os.environ)
    secrets.guard()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the coordinator, which decides what it means
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
    line = Line(socket.socket(fileno=int(sys.argv[1])))
    try:
        start = line.receive()
        if not isinstance(start, Start):
            raise TypeError(f"the first message must be Start, found {type(start).__name__}")
        with traced(start.spec.trace) as phases:
            replica = load(start, line, phases)
            if replica is None:
                return 1
            serve(replica, line, phases)
    except (EOFError, ConnectionError):
        return 0  # the coordinator is gone
    except Exception as error:
        # The one place where every fault is caught: its reason must reach the coordinator before the process ends.
        first_line = (str(error).splitlines() or [""])[0]
        line.send(Fatal(f"{type(error).__name__}: {first_line}"))
        raise
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # no teardown of a gigabyte model
