"""The local fleet: one worker process per device of this machine, connected by a socket pair."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from swarmeval.errors import WorkerDied
from swarmeval.workers.devices import DeviceSpec, worker_env
from swarmeval.workers.link import LinkedWorker, Transport
from swarmeval.workers.output_lines import printed_lines
from swarmeval.workers.replica_spec import ReplicaSpec
from swarmeval.workers.wire import HEADER, Fatal, Finish, FromWorker, Start, ToWorker, frame, read_from_worker

FINISH_LIMIT_S = 15.0  # time for a traced worker to finish its step and write its trace

log = logging.getLogger("swarmeval.worker")


class LocalWorker(LinkedWorker):
    """A worker whose replica runs in a process of this machine."""

    def __init__(
        self, device: DeviceSpec, spec: ReplicaSpec, silence_s: float, load_s: float, start_lock: asyncio.Lock
    ) -> None:
        """The fleet shares `start_lock`: a start blocks the event loop for about 30 ms, so starts are serialized."""
        super().__init__(device.name, spec, silence_s, load_s)
        self._device = device
        self._start_lock = start_lock

    async def _open(self) -> "SocketTransport":
        """Start a process. Cancellation waits until the start is complete: a half-started process cannot be killed."""
        async with self._start_lock:
            opening = asyncio.ensure_future(SocketTransport.open(self._device, self._spec.trace is not None))
            try:
                transport = await asyncio.shield(opening)
            except asyncio.CancelledError:
                with contextlib.suppress(WorkerDied):
                    await (await opening).close()
                raise
        self.pid = transport.pid
        return transport

    async def _begin(self, transport: Transport, start: Start) -> None:
        transport.send(start)


class SocketTransport:
    """A worker process on this machine and the socket to it."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        traced: bool,
    ) -> None:
        self._name = name
        self._process = process
        self._reader, self._writer = streams
        self._traced = traced
        self._fatal = ""
        self._last_line = ""
        self._logging = asyncio.create_task(self._log_output())

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def open(cls, device: DeviceSpec, traced: bool) -> "SocketTransport":
        """Start a process; a `traced` one gets time to finish when closed. Raises WorkerDied."""
        try:
            own_end, worker_end = socket.socketpair()
        except OSError as error:
            raise WorkerDied(f"{device.name}: its process cannot be started ({error})") from None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "swarmeval.workers.process", str(worker_end.fileno()),
                pass_fds=[worker_end.fileno()],
                env=worker_env(device, os.environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # keeps Ctrl-C in the terminal from reaching the worker
            )  # fmt: skip
        except OSError as error:
            own_end.close()
            raise WorkerDied(f"{device.name}: its process cannot be started ({error})") from None
        finally:
            worker_end.close()
        own_end.setblocking(False)
        return cls(device.name, process, await asyncio.open_connection(sock=own_end), traced)

    def send(self, message: ToWorker) -> None:
        self._writer.write(frame(message))

    async def receive(self) -> Sequence[FromWorker]:
        try:
            while True:
                (length,) = HEADER.unpack(await self._reader.readexactly(HEADER.size))
                message = read_from_worker(await self._reader.readexactly(length))
                if not isinstance(message, Fatal):
                    return (message,)
                self._fatal = message.reason  # the process exits after this message
        except (EOFError, ConnectionError):
            raise WorkerDied(await self._cause_of_death()) from None

    async def kill(self) -> None:
        self._kill()

    async def close(self) -> None:
        """Kill the process's whole session and reap it. Leaves nothing open if cancelled."""
        try:
            if self._traced:
                await self._finish()
        finally:
            self._kill()
            try:
                await self._process.wait()
            finally:
                self._writer.close()
                self._logging.cancel()
                await asyncio.gather(self._logging, return_exceptions=True)

    async def _finish(self) -> None:
        """Give the process FINISH_LIMIT_S to exit by itself."""
        self.send(Finish())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_LIMIT_S):
                await self._process.wait()

    async def _log_output(self) -> None:
        """Copy the worker's output to the log line by line; keep the last line as a possible cause of death."""
        stream = self._process.stdout
        assert stream is not None
        async for line in printed_lines(stream):
            self._last_line = line.strip()[:200]
            log.info("%s: %s", self._name, line)

    async def _cause_of_death(self) -> str:
        self._kill()  # the process may have closed the socket without exiting
        code = await self._process.wait()
        await asyncio.wait([self._logging], timeout=1.0)  # for its last output
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return self._fatal or (f"{how}: {self._last_line}" if self._last_line else how)

    def _kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


class LocalFleet:
    """One LocalWorker per device."""

    def __init__(
        self, devices: Sequence[DeviceSpec], specs: Sequence[ReplicaSpec], silence_s: float, load_s: float
    ) -> None:
        start_lock = asyncio.Lock()
        self.workers = [
            LocalWorker(device, spec, silence_s, load_s, start_lock)
            for device, spec in zip(devices, specs, strict=True)
        ]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(worker.stop() for worker in self.workers))
