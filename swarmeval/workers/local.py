"""One worker process per device on this machine, each at the other end of a socket pair."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from swarmeval.errors import DeviceError, ModelUnavailable, UserError, WorkerDied
from swarmeval.requests import Progress, ReplicaInfo
from swarmeval.secrets import scrub
from swarmeval.workers.devices import DeviceSpec, worker_env
from swarmeval.workers.pending import Asked, Asking
from swarmeval.workers.replica_spec import ReplicaSpec
from swarmeval.workers.wire import (
    HEADER,
    Drain,
    Fatal,
    Finish,
    FromWorker,
    LoadFailed,
    Ready,
    Start,
    ToWorker,
    frame,
    read_from_worker,
)

ROOT = str(Path(__file__).resolve().parents[2])
FINISH_LIMIT_S = 15.0  # for a traced worker to end its step and write what it knows
IDLE = Progress(rows_in_use=0, waiting=0, output_tokens=0)
USELESS_TO_RETRY: dict[str, type[UserError]] = {"ModelUnavailable": ModelUnavailable, "DeviceError": DeviceError}

log = logging.getLogger("swarmeval.worker")


class LocalWorker(Asking):
    """One worker process; started again by start() after a death."""

    def __init__(
        self, device: DeviceSpec, spec: ReplicaSpec, silence_s: float, load_s: float, turn: asyncio.Lock
    ) -> None:
        """`silence_s` and `load_s` bound how long a busy or a loading worker may say nothing.

        `turn` is the fleet's: to begin a process holds up the event loop for some 30 ms, so they are begun one by one.
        """
        self.name = device.name
        self.pid: int | None = None
        self.progress = IDLE
        self._device = device
        self._spec = spec
        self._silence_s = silence_s
        self._load_s = load_s
        self._turn = turn
        self._lives = 0
        self._link: _Link | None = None

    async def start(self) -> ReplicaInfo:
        """Start the process and load its replica. Raises WorkerDied, ModelUnavailable or DeviceError."""
        await self.stop()
        life, self._lives = self._lives, self._lives + 1
        self._link = link = await self._open()
        self.pid = link.pid
        try:
            async with asyncio.timeout(self._load_s):
                first = await link.first(Start(self._spec, life))
        except TimeoutError:
            await link.close()
            raise WorkerDied(f"{self.name}: did not load within {self._load_s:g} s (load_timeout_s)") from None
        except WorkerDied:
            await link.close()
            raise
        if isinstance(first, LoadFailed):
            await link.close()
            raise USELESS_TO_RETRY.get(first.kind, WorkerDied)(f"{self.name}: {first.reason}")
        link.listen(self, self._silence_s)
        return first.info

    async def _open(self) -> "_Link":
        """A process whose start, once begun, is not cut short: half of one would be nobody's to end."""
        async with self._turn:
            opening = asyncio.ensure_future(_Link.open(self._device))
            try:
                return await asyncio.shield(opening)
            except asyncio.CancelledError:
                with contextlib.suppress(WorkerDied):
                    await (await opening).close()
                raise

    @property
    def running(self) -> bool:
        return self._link is not None and self._link.asked.death is None

    def life(self) -> Asked | None:
        return None if self._link is None else self._link.asked

    async def drain(self) -> None:
        """Make the replica forget what it has not begun; the generate() calls end without it."""
        if self._link is not None:
            self._link.send(Drain())

    async def stop(self) -> None:
        """Kill the process and all it started; waits until it is gone. One that is traced may end by itself."""
        link = self._link
        self.progress, self.pid = IDLE, None
        if link is not None:
            if self._spec.trace is not None:
                await link.finish()
            await link.close()
            self._link = None  # not before: what is cancelled here, the next call is to end


class _Link:
    """A running worker process and the socket to it."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> None:
        self._name = name
        self._process = process
        self._reader, self._writer = streams
        self.asked = Asked(self.send)
        self._fatal = ""
        self._last_words = ""
        self._tasks = [asyncio.create_task(self._log_output())]

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def open(cls, device: DeviceSpec) -> "_Link":
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise WorkerDied(f"{device.name}: its process cannot be started ({error})") from None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "swarmeval.workers.process", str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                env=worker_env(device, os.environ, ROOT),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is the coordinator's to handle
            )  # fmt: skip
        except OSError as error:
            ours.close()
            raise WorkerDied(f"{device.name}: its process cannot be started ({error})") from None
        finally:
            theirs.close()
        ours.setblocking(False)
        return cls(device.name, process, await asyncio.open_connection(sock=ours))

    async def first(self, start: Start) -> Ready | LoadFailed:
        """Send the order to load and wait for how it went."""
        self.send(start)
        try:
            while not isinstance(message := await self._receive(), Ready | LoadFailed):
                if isinstance(message, Fatal):
                    self._fatal = message.reason
            return message
        except (EOFError, ConnectionError, msgspec.DecodeError):
            raise await self._obituary("while loading") from None

    def listen(self, worker: LocalWorker, silence_s: float) -> None:
        """From now on hand every message to whom it concerns."""
        self._tasks += [asyncio.create_task(self._read(worker)), asyncio.create_task(self._watch(silence_s))]

    async def finish(self) -> None:
        """Let the process end by itself, but not for long."""
        self.send(Finish())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_LIMIT_S):
                await self._process.wait()

    def send(self, message: ToWorker) -> None:
        """Queue a message; a broken socket shows in the reading half."""
        self._writer.write(frame(message))

    async def close(self) -> None:
        """Kill the process's whole session, reap it, end the tasks. Cancelled, it leaves nothing open."""
        self._kill()
        try:
            await self._process.wait()
        finally:
            self._writer.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self.asked.die(WorkerDied(f"{self._name}: was stopped"))

    async def _receive(self) -> FromWorker:
        (length,) = HEADER.unpack(await self._reader.readexactly(HEADER.size))
        return read_from_worker(await self._reader.readexactly(length))

    async def _read(self, worker: LocalWorker) -> None:
        try:
            while True:
                message = await self._receive()
                self.asked.hear(message)
                if isinstance(message, Progress):
                    worker.progress = message
                elif isinstance(message, Fatal):
                    self._fatal = message.reason
        except (EOFError, ConnectionError):
            self.asked.die(await self._obituary("while generating"))
        except (msgspec.DecodeError, MemoryError) as error:
            self._kill()
            self.asked.die(WorkerDied(f"{self._name}: sent what is no message ({error})"))

    async def _watch(self, silence_s: float) -> None:
        """End a worker that has work and says nothing."""
        await self.asked.silence(silence_s)
        self._kill()
        self.asked.die(WorkerDied(f"{self._name}: said nothing for {silence_s:g} s (worker_timeout_s)"))

    async def _log_output(self) -> None:
        """What the worker prints goes to the log, line by line, and its last line into its obituary."""
        stream = self._process.stdout
        assert stream is not None
        while piece := await stream.read(65536):
            for line in scrub(piece.decode(errors="replace")).splitlines():
                if line.strip():
                    self._last_words = line.strip()[:200]
                    log.info("%s: %s", self._name, line)

    async def _obituary(self, when: str) -> WorkerDied:
        self._kill()  # a closed socket without a death is an end as well
        code = await self._process.wait()
        await asyncio.wait(self._tasks[:1], timeout=1.0)  # let its last words arrive
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        why = self._fatal or (f"{how}: {self._last_words}" if self._last_words else how)
        return WorkerDied(f"{self._name}: worker died {when} ({why})")

    def _kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


class LocalFleet:
    """A LocalWorker per device."""

    def __init__(
        self, devices: Sequence[DeviceSpec], specs: Sequence[ReplicaSpec], silence_s: float, load_s: float
    ) -> None:
        turn = asyncio.Lock()
        self.workers = [
            LocalWorker(device, spec, silence_s, load_s, turn) for device, spec in zip(devices, specs, strict=True)
        ]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(worker.stop() for worker in self.workers))
