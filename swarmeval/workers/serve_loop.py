"""The heart of a worker, whatever carries its messages: load one replica, step it, answer."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from swarmeval.errors import DeviceError, ModelUnavailable, UserError
from swarmeval.monitor.processes import memory_mb
from swarmeval.monitor.tracing.flame import Flame, flame_path
from swarmeval.monitor.tracing.phases import DECODE, IDLE, Phases, RecordedPhases
from swarmeval.monitor.tracing.spans import SpanFile, spans_path
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


class Line(Protocol):
    """The worker's end of what connects it with the coordinator."""

    def send(self, message: FromWorker) -> None: ...

    def waiting(self, block: bool) -> Iterator[ToWorker]:
        """What has arrived; with `block`, at least one message. Raises EOFError when the coordinator is gone."""


def serve(replica: Replica, line: Line, phases: Phases) -> None:
    """Answer requests until the coordinator hangs up, or wants an end."""
    told_at = 0.0
    while True:
        if idle := not replica.busy():
            phases.enter(IDLE)
            if told_at:  # or what was told last would seem to go on
                told_at = 0.0
                line.send(replica.progress())
        for message in line.waiting(block=idle):
            if isinstance(message, Finish):
                return
            obey(message, replica, line)
        if replica.busy():
            phases.enter(DECODE)  # an engine says when it reads prompts instead
            if answers := replica.step():
                line.send(Answers(tuple(answers)))
            if pieces := replica.pieces():
                line.send(Pieces(tuple(pieces)))
        if time.monotonic() - told_at >= PROGRESS_EVERY_S:
            told_at = time.monotonic()
            line.send(replica.progress())


def obey(message: ToWorker, replica: Replica, line: Line) -> None:
    if isinstance(message, Submit):
        for request in message.requests:
            replica.submit(request)
    elif isinstance(message, Cancel):
        replica.cancel(message.job_ids)
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
    phases = RecordedPhases(file, flame.stop_if_due)
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
