"""The coordinator's side of a worker: start, listen, watch, close. Does not know how messages are carried."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

import msgspec

from swarmeval.errors import ConfigError, DeviceError, ModelUnavailable, UserError, WorkerDied, WorkerGone
from swarmeval.requests import Answer, Piece, ReplicaInfo, Request, Speculation, WorkerProgress
from swarmeval.workers.pending import Pending
from swarmeval.workers.replica_spec import ReplicaSpec
from swarmeval.workers.speculation import plus
from swarmeval.workers.wire import Drain, FromWorker, LoadFailed, Ready, Start, ToWorker

IDLE = WorkerProgress(rows_in_use=0, waiting=0, output_tokens=0)
NOT_RETRIED: dict[str, type[UserError]] = {
    "ConfigError": ConfigError, "ModelUnavailable": ModelUnavailable, "DeviceError": DeviceError,
}  # fmt: skip

log = logging.getLogger("swarmeval.worker")


class Transport(Protocol):
    """Carries the messages of one worker process, from its start to its end."""

    def send(self, message: ToWorker) -> None:
        """Queue a message and return at once; a lost connection shows in receive()."""

    async def receive(self) -> Sequence[FromWorker]:
        """Wait for the next messages, at least one.

        Raises WorkerDied, with the bare reason, if the worker has ended; msgspec.DecodeError for an invalid message.
        """

    async def kill(self) -> None:
        """Kill the worker's process at once. Idempotent."""

    async def close(self) -> None:
        """End the worker and free the transport; a traced worker first gets time to write its trace. Idempotent."""


class Link:
    """The connection to one worker process: its transport and its unanswered requests."""

    def __init__(self, name: str, transport: Transport) -> None:
        self.transport = transport
        self.pending = Pending(transport.send)
        self.progress = IDLE
        self.listening = False
        self._name = name
        self._received: list[FromWorker] = []  # messages that arrived together with Ready, before listen()
        self._tasks: list[asyncio.Task[None]] = []

    async def first(self) -> Ready | LoadFailed:
        """Wait for the result of loading. Raises WorkerDied."""
        while True:
            try:
                messages = list(await self.transport.receive())
            except WorkerDied as death:
                raise WorkerDied(f"{self._name}: worker died while loading ({death})") from None
            except msgspec.DecodeError as error:
                raise self._garbled(error) from None
            for number, message in enumerate(messages):
                if isinstance(message, Ready | LoadFailed):
                    self._received = messages[number + 1 :]
                    self.progress = IDLE
                    return message
                if isinstance(message, WorkerProgress):
                    self.progress = message

    def listen(self, silence_s: float) -> None:
        """Start to deliver answers to their callers, and kill a busy worker that is silent for `silence_s`."""
        self.listening = True
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._watch(silence_s))]

    async def close(self) -> None:
        """End the worker and the tasks; callers waiting for answers get WorkerDied."""
        try:
            await self.transport.close()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self.pending.die(WorkerDied(f"{self._name}: was stopped"))

    async def _read(self) -> None:
        try:
            messages: Sequence[FromWorker] = self._received
            while True:
                for message in messages:
                    self.pending.receive(message)
                    if isinstance(message, WorkerProgress):
                        self.progress = message
                messages = await self.transport.receive()
        except WorkerDied as death:
            self.pending.die(WorkerDied(f"{self._name}: worker died while generating ({death})"))
        except (msgspec.DecodeError, MemoryError) as error:
            self.pending.die(self._garbled(error))
        await self.transport.kill()

    async def _watch(self, silence_s: float) -> None:
        """Kill a worker that has work but stays silent."""
        await self.pending.wait_for_silence(silence_s)
        self.pending.die(WorkerDied(f"{self._name}: sent nothing for {silence_s:g} s (workers.timeout_s)"))
        await self.transport.kill()

    def _garbled(self, error: Exception) -> WorkerDied:
        return WorkerDied(f"{self._name}: sent an invalid message ({error})")


class LinkedWorker(ABC):
    """The coordinator's half of a worker. After the worker's death, start() starts a new process."""

    def __init__(self, name: str, spec: ReplicaSpec, silence_s: float, load_s: float) -> None:
        """`silence_s` limits the silence of a busy worker, `load_s` the time to load."""
        self.name = name
        self.pid: int | None = None
        self._spec = spec
        self._silence_s = silence_s
        self._load_s = load_s
        self._lives = 0
        self._speculation: Speculation | None = None  # of earlier lives
        self._link: Link | None = None

    @abstractmethod
    async def _open(self) -> Transport:
        """Open a transport to a fresh process. Raises WorkerDied, DeviceError; leaves nothing open if cancelled."""

    @abstractmethod
    async def _begin(self, transport: Transport, start: Start) -> None:
        """Tell the process to load its replica. Raises WorkerDied, DeviceError."""

    @property
    def progress(self) -> WorkerProgress:
        progress = IDLE if self._link is None else self._link.progress
        if self._speculation is None:
            return progress
        return msgspec.structs.replace(progress, speculation=plus(self._speculation, progress.speculation))

    @property
    def running(self) -> bool:
        return self._link is not None and self._link.listening and self._link.pending.death is None

    async def start(self) -> ReplicaInfo:
        """Start a process and load its replica. Raises WorkerDied, or a UserError of NOT_RETRIED."""
        await self.stop()
        life, self._lives = self._lives, self._lives + 1
        transport = await self._open()
        self._link = link = Link(self.name, transport)
        try:
            async with asyncio.timeout(self._load_s):
                await self._begin(transport, Start(self._spec, life))
                first = await link.first()
        except TimeoutError:
            await link.close()
            raise WorkerDied(f"{self.name}: did not load within {self._load_s:g} s (workers.load_timeout_s)") from None
        except (WorkerDied, DeviceError):
            await link.close()
            raise
        if isinstance(first, LoadFailed):
            await link.close()
            raise NOT_RETRIED.get(first.kind, WorkerDied)(f"{self.name}: {first.reason}")
        link.listen(self._silence_s)
        return first.info

    def generate(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        """Yield the answers to these requests as they arrive. Raises WorkerDied."""
        return self._pending().answers(requests)

    def stream(self, request: Request) -> AsyncGenerator[Piece | Answer, None]:
        """Yield the pieces of one request's answer, then the answer. Raises WorkerDied."""
        return self._pending().items([request])

    async def drain(self) -> None:
        """Drop the requests that the replica has not started; their generate() calls end without an answer for them."""
        if self._link is not None and self.running:
            self._link.transport.send(Drain())

    async def stop(self) -> None:
        """End the process and everything it started; wait until it is gone."""
        self.pid = None
        if self._link is not None:
            await self._link.close()
            self._speculation = plus(self._speculation, self._link.progress.speculation)
            self._link = None  # only after close(): if that is cancelled, the next call must close it

    def _pending(self) -> Pending:
        if self._link is None:
            raise WorkerGone(f"{self.name}: is not running")
        return self._link.pending
