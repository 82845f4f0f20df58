"""The main loop of a worker: load one replica, step it, send answers. Does not know how messages are carried."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from swarmeval.errors import ConfigError, DeviceError, ModelUnavailable, UserError
from swarmeval.monitor.processes import memory_mb
from swarmeval.monitor.tracing.flame import Flame, flame_path
from swarmeval.monitor.tracing.phases import DECODE, IDLE, Phases, RecordedPhases
from swarmeval.monitor.tracing.spans import SpanFile, spans_path
from swarmeval.requests import WorkerProgress
from swarmeval.workers.protocol import Replica
from swarmeval.workers.replica import make_replica
from swarmeval.workers.replica_spec import TraceSpec
from swarmeval.workers.wire import (
    Answers,
    Cancel,
    Drain,
    Dropped,
    Finish,
    FromWorker,
    LoadFailed,
    Pieces,
    Ready,
    Start,
    Submit,
    ToWorker,
)

PROGRESS_EVERY_S = 1.0
STEPS = "swarmeval.loading"  # logger for the steps of loading a replica, one message at the start of each


class Connection(Protocol):
    """The worker's end of its connection to the coordinator."""

    def send(self, message: FromWorker) -> None: ...

    def arrived(self, block: bool) -> Iterator[ToWorker]:
        """Yield the messages that have arrived; with `block`, wait for one. Raises EOFError without a coordinator."""


def serve(replica: Replica, connection: Connection, phases: Phases) -> None:
    """Answer requests until the coordinator disconnects or sends Finish."""
    reported_at = 0.0
    while True:
        if idle := not replica.busy():
            phases.enter(IDLE)
            if reported_at:  # otherwise the last report would still show it as busy
                reported_at = 0.0
                connection.send(replica.progress())
        for message in connection.arrived(block=idle):
            if isinstance(message, Finish):
                return
            handle(message, replica, connection)
        if replica.busy():
            phases.enter(DECODE)  # engines that separate prefill enter that phase themselves
            if answers := replica.step():
                connection.send(Answers(tuple(answers)))
            if pieces := replica.pieces():
                connection.send(Pieces(tuple(pieces)))
        if time.monotonic() - reported_at >= PROGRESS_EVERY_S:
            reported_at = time.monotonic()
            connection.send(replica.progress())


def handle(message: ToWorker, replica: Replica, connection: Connection) -> None:
    if isinstance(message, Submit):
        for request in message.requests:
            replica.submit(request)
    elif isinstance(message, Cancel):
        replica.cancel(message.job_ids)
    elif isinstance(message, Drain):
        connection.send(Dropped(tuple(replica.drop_waiting())))


@contextmanager
def traced(trace: TraceSpec | None) -> Iterator[Phases]:
    """Yield the phase recorder of this process; with `trace`, write spans and a flame graph at the end."""
    if trace is None:
        yield Phases()
        return
    folder = Path(trace.folder)
    file = SpanFile(spans_path(folder, trace.device), trace.session, trace.origin_ns)
    flame = Flame(flame_path(folder, trace.device, trace.session))
    phases = RecordedPhases(file, flame.stop_if_due)
    try:
        yield phases
    finally:
        phases.close()
        flame.write()


class _StepHandler(logging.Handler):
    """Sends each log record to the coordinator as the current step of loading."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        self._connection.send(WorkerProgress(0, 0, 0, record.getMessage()))


@contextmanager
def _reported_steps(connection: Connection) -> Iterator[None]:
    """Report the steps of loading to the coordinator inside the context."""
    logger, handler = logging.getLogger(STEPS), _StepHandler(connection)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def load(start: Start, connection: Connection, phases: Phases) -> Replica | None:
    """Load the replica and report the result to the coordinator; None if loading failed."""
    memory = memory_mb(os.getpid())
    try:
        with _reported_steps(connection):
            replica = make_replica(start.spec, start.life, phases)
    except ModelUnavailable as error:
        connection.send(LoadFailed(str(error), "ModelUnavailable"))
    except DeviceError as error:
        connection.send(LoadFailed(str(error), "DeviceError"))
    except ConfigError as error:
        connection.send(LoadFailed(str(error), "ConfigError"))
    except UserError as error:
        connection.send(LoadFailed(str(error), ""))
    else:
        connection.send(Ready(replace(replica.info(), before_load_mb=None if memory is None else memory[0])))
        return replica
    return None
