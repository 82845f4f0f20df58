"""A worker behind a transport: start, listen, watch, close, whatever carries the messages."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

import msgspec

from swarmeval.errors import DeviceError, ModelUnavailable, UserError, WorkerDied, WorkerGone
from swarmeval.requests import Answer, Piece, ReplicaInfo, Request, WorkerProgress
from swarmeval.workers.pending import Pending
from swarmeval.workers.replica_spec import ReplicaSpec
from swarmeval.workers.wire import Drain, FromWorker, LoadFailed, Ready, Start, ToWorker

IDLE = WorkerProgress(rows_in_use=0, waiting=0, output_tokens=0)
NOT_RETRIED: dict[str, type[UserError]] = {"ModelUnavailable": ModelUnavailable, "DeviceError": DeviceError}

log = logging.getLogger("swarmeval.worker")


class Transport(Protocol):
    """What carries the messages of one life of a worker."""

    def send(self, message: ToWorker) -> None:
        """Queue a message and return at once; that it did not arrive shows in receive()."""

    async def receive(self) -> Sequence[FromWorker]:
        """The next messages, at least one.

        Raises WorkerDied with the bare reason when the worker has ended, msgspec.DecodeError for what is no message.
        """

    async def kill(self) -> None:
        """End the worker's process at once. Idempotent."""

    async def close(self) -> None:
        """End the worker, politely where it has something to write, and free what the transport holds. Idempotent."""


class Link:
    """One life of a worker: its transport, and the requests that it has not answered."""

    def __init__(self, name: str, transport: Transport) -> None:
        self.transport = transport
        self.pending = Pending(transport.send)
        self.progress = IDLE
        self.listening = False
        self._name = name
        self._received: list[FromWorker] = []  # behind the first message, before anybody listens
        self._tasks: list[asyncio.Task[None]] = []

    async def first(self) -> Ready | LoadFailed:
        """How the loading went. Raises WorkerDied."""
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
        """From now on hand every answer to those who wait for it, and end a worker that says nothing for so long."""
        self.listening = True
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._watch(silence_s))]

    async def close(self) -> None:
        """End the worker and the tasks; callers that wait for answers get WorkerDied."""
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
        """End a worker that has work and says nothing."""
        await self.pending.wait_for_silence(silence_s)
        self.pending.die(WorkerDied(f"{self._name}: said nothing for {silence_s:g} s (workers.timeout_s)"))
        await self.transport.kill()

    def _garbled(self, error: Exception) -> WorkerDied:
        return WorkerDied(f"{self._name}: sent what is no message ({error})")


class LinkedWorker(ABC):
    """The coordinator's half of a worker; started again by start() after a death."""

    def __init__(self, name: str, spec: ReplicaSpec, silence_s: float, load_s: float) -> None:
        """`silence_s` and `load_s` bound how long a busy or a loading worker may say nothing."""
        self.name = name
        self.pid: int | None = None
        self._spec = spec
        self._silence_s = silence_s
        self._load_s = load_s
        self._lives = 0
        self._link: Link | None = None

    @abstractmethod
    async def _open(self) -> Transport:
        """A transport to a fresh process. Raises WorkerDied, DeviceError; cancelled, it leaves nothing open."""

    @abstractmethod
    async def _begin(self, transport: Transport, start: Start) -> None:
        """Have the process load its replica. Raises WorkerDied, DeviceError."""

    @property
    def progress(self) -> WorkerProgress:
        return IDLE if self._link is None else self._link.progress

    @property
    def running(self) -> bool:
        return self._link is not None and self._link.listening and self._link.pending.death is None

    async def start(self) -> ReplicaInfo:
        """Start a process and load its replica. Raises WorkerDied, ModelUnavailable or DeviceError."""
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
        """Yield the answers to these requests as they are born. Raises WorkerDied."""
        return self._pending().answers(requests)

    def stream(self, request: Request) -> AsyncGenerator[Piece | Answer, None]:
        """Yield the pieces of one request, and its answer. Raises WorkerDied."""
        return self._pending().items([request])

    async def drain(self) -> None:
        """Make the replica forget what it has not begun; the generate() calls end without it."""
        if self._link is not None and self.running:
            self._link.transport.send(Drain())

    async def stop(self) -> None:
        """End the process and all it started; waits until it is gone."""
        self.pid = None
        if self._link is not None:
            await self._link.close()
            self._link = None  # not before: if this is cancelled, the next call must end it

    def _pending(self) -> Pending:
        if self._link is None:
            raise WorkerGone(f"{self.name}: is not running")
        return self._link.pending
