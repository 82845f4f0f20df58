"""The pool's handle of one warden process: starts it on demand and requests one verdict after another."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

from swarmeval.errors import SandboxError
from swarmeval.location import ROOT
from swarmeval.sandbox import folders

START_LIMIT_S = 120.0
STOP_LIMIT_S = 5.0  # for a warden to remove its folder and exit
LENGTH = struct.Struct(">I")
CALLS, EXECUTED = "swarmeval.sandbox.warden", "swarmeval.sandbox.executed.warden"
# Removes the checkout from sys.path again before any program runs.
BOOT = (
    "import importlib, json, sys; root, module, fd, folder, mode, more = sys.argv[1:]; sys.path.insert(0, root); "
    "main = importlib.import_module(module).main; sys.path.remove(root); main(int(fd), folder, mode, *json.loads(more))"
)


class WardenDied(Exception):
    """A warden ended; str() has its last output."""


class WardenProcess:
    """One warden, started on demand and replaced after its death."""

    def __init__(self, module: str, mode: str, places: Sequence[str] | None, yields: bool) -> None:
        """`module`: CALLS or EXECUTED; its main() gets the `places`. The others are as in Sandbox."""
        self.in_force: list[str] = []
        self.missing: dict[str, str] = {}
        self._module, self._mode = module, mode
        self._more = json.dumps([places if places is None else list(places), yields])
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._folder = ""

    @property
    def pid(self) -> int | None:
        process = self._process
        return None if process is None else process.pid

    @property
    def socket_fd(self) -> int | None:
        """The file descriptor of its socket, whose last copy keeps it alive; None if it is not running."""
        if self._writer is None:
            return None
        fd: int = self._writer.get_extra_info("socket").fileno()
        return fd if fd >= 0 else None

    async def start(self) -> None:
        """Start a warden. Raises WardenDied, or SandboxError if the warden cannot work on this machine."""
        await self.stop()
        ours = theirs = None
        try:
            ours, theirs = socket.socketpair()
            self._folder = folders.make()
            self._reader, self._writer = await asyncio.open_connection(sock=ours)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-B", "-c", BOOT, str(ROOT), self._module, str(theirs.fileno()), self._folder,
                self._mode, self._more,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
                env=clean_environment(), pass_fds=[theirs.fileno()], start_new_session=True, cwd=self._folder,
            )  # fmt: skip
        except OSError as error:
            if ours is not None:
                ours.close()
            raise SandboxError(f"sandbox: the judging process cannot be started: {error}") from error
        finally:
            if theirs is not None:
                theirs.close()
        hello = await self._receive(START_LIMIT_S)
        self.in_force, self.missing = hello["in_force"], hello["missing"]

    async def run(self, request: dict[str, Any], spare_s: float) -> dict[str, Any]:
        """Run one program. Raises WardenDied if the warden ends or falls silent before it answers."""
        if self._writer is None:
            await self.start()
        assert self._writer is not None
        body = json.dumps(request).encode()
        with contextlib.suppress(ConnectionError):  # _receive then reads the end of the stream and finds the reason
            self._writer.write(LENGTH.pack(len(body)) + body)
            await self._writer.drain()
        return await self._receive(request["timeout_s"] + spare_s)

    def kill(self) -> None:
        """Close the warden's socket, which ends the warden and its program."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    async def stop(self) -> None:
        """End the warden and its program, and remove its folder. Idempotent."""
        self.kill()
        process, self._process = self._process, None
        if process is not None:
            await end(process)
        if self._folder:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            self._folder = ""

    async def _receive(self, limit_s: float) -> dict[str, Any]:
        """The next answer. Kills a warden that is silent for `limit_s`."""
        answer: dict[str, Any] = {"running": True}
        try:
            while "running" in answer:
                async with asyncio.timeout(limit_s):
                    header = await self._reader.readexactly(LENGTH.size)
                    answer = json.loads(await self._reader.readexactly(*LENGTH.unpack(header)))
        except TimeoutError:  # a program may have stopped the warden
            if self._process is not None:
                kill_group(self._process)
            raise WardenDied(f"silent for {limit_s:.0f} s; {await self._exit_reason()}") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise WardenDied(await self._exit_reason()) from None
        if "broken" in answer:
            raise SandboxError(f"sandbox: {answer['broken']}")
        return answer

    async def _exit_reason(self) -> str:
        """Describe how the warden ended, and drop it so that the next run starts a new one."""
        self.kill()
        process, self._process = self._process, None
        if process is None:
            return "stopped"
        errors = await end(process)
        lines = errors.decode(errors="replace").strip().splitlines()
        return f"exit code {process.returncode}" + (f", {lines[-1]}" if lines else "")


async def end(process: asyncio.subprocess.Process) -> bytes:
    """Wait for a warden whose socket was closed, and kill it if it does not exit; return its stderr."""
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            return (await process.communicate())[1]
    except TimeoutError:
        kill_group(process)
        return (await process.communicate())[1]


def kill_group(process: asyncio.subprocess.Process) -> None:
    """Kill a warden and, with it, its program."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def clean_environment() -> dict[str, str]:
    """The environment of programs. The hash seed is fixed so that verdicts do not depend on the order of sets."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
    }
