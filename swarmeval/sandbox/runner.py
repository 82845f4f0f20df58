"""The pool outside: program text -> Execution, on a fixed number of wardens (see warden).

Knows nothing of models, tasks or verdicts.
"""

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
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from swarmeval.errors import SandboxError
from swarmeval.location import ROOT
from swarmeval.records import Execution, Outcome, Program
from swarmeval.sandbox import folders
from swarmeval.sandbox.layers.guard import MB

START_LIMIT_S = 120.0
SPARE_S = 90.0  # what a warden may take beyond a program's time: to fork, set up, clean up
STOP_LIMIT_S = 5.0  # for a warden to end by itself, its folder removed
TRIES = 3  # of a program whose warden dies under it
LENGTH = struct.Struct(">I")
BYTES_PER_LETTER = 64  # of a program, that reading and compiling it may take at least: 12 as JSON, twice, and 4 as text
# A checkout leaves sys.path again before any program runs.
BOOT = (
    "import json, sys; root, fd, folder, mode, shown = sys.argv[1:]; sys.path.insert(0, root); "
    "from swarmeval.sandbox import warden; sys.path.remove(root); warden.main(int(fd), folder, mode, json.loads(shown))"
)
HARMLESS = Program("pass")


class WardenDied(Exception):
    """A warden ended; str() is what it said last."""


class Sandbox:
    """Runs at most `workers` programs at once, each for `timeout_s` seconds in `memory_mb` of address space."""

    def __init__(
        self,
        workers: int,
        timeout_s: float,
        memory_mb: int,
        mode: str = "auto",
        spare_s: float = SPARE_S,
        shown: Sequence[str] | None = None,
    ) -> None:
        """A warden silent for `spare_s` beyond a program's time is killed and replaced.

        `mode`: "strict" refuses to run where a layer is missing, "auto" runs with those there are, "none" adds none.
        `shown`: files and folders of what is installed, or of wherever, that programs may read; None: all that is
        installed. What belongs to Python itself can always be read.
        """
        self._mode = mode
        self._limits = {"timeout_s": timeout_s, "memory_mb": memory_mb}
        self._spare_s = spare_s
        self._wardens = [WardenProcess(mode, shown) for _ in range(workers)]
        self._free: asyncio.Queue[WardenProcess] = asyncio.Queue()
        self._closed = False

    async def __aenter__(self) -> Self:
        """Start the wardens. Raises SandboxError when programs cannot be run here."""
        if sys.platform != "linux":
            raise SandboxError(f"sandbox: programs can be judged on Linux only, this is {sys.platform}")
        await asyncio.to_thread(folders.sweep)
        try:
            await asyncio.gather(*(warden.start() for warden in self._wardens))
        except WardenDied as error:
            await self._stop()
            raise SandboxError(f"sandbox: the judging process does not start: {error}") from error
        except BaseException:
            await self._stop()
            raise
        if self._mode == "strict" and (missing := self.missing()):
            await self._stop()
            reasons = "; ".join(f"{layer}: {reason}" for layer, reason in missing.items())
            raise SandboxError(f"sandbox: 'strict' needs every layer, and these are missing: {reasons}; use auto")
        for warden in self._wardens:
            self._free.put_nowait(warden)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def set_timeout(self, timeout_s: float) -> None:
        """For programs that begin from now on."""
        self._limits = {**self._limits, "timeout_s": timeout_s}

    def in_force(self) -> str:
        """One line: the layers that hold around every program."""
        return ", ".join(self._wardens[0].in_force)

    def missing(self) -> dict[str, str]:
        """The layers that do not hold here, and why."""
        return self._wardens[0].missing

    def pids(self) -> tuple[int, ...]:
        """Of the wardens there are: all that runs here descends from them. May be called from any thread."""
        return tuple(pid for warden in self._wardens if (pid := warden.pid) is not None)

    async def run(self, program: Program, part: float = 1.0) -> Execution:
        """Run one program, for this part of the time limit, and say how it ended. Cancelled, it kills it at once.

        Raises SandboxError when the sandbox itself fails: that is never the program's verdict.
        """
        memory_mb = self._limits["memory_mb"]
        if BYTES_PER_LETTER * len(program.text) > memory_mb * MB:
            return Execution(Outcome.OUT_OF_MEMORY, f"{len(program.text):,} letters do not run in {memory_mb} MB")
        answer = await self._send({"program": {**asdict(program), "text": program.text}}, part)
        return execution(answer)

    async def stream(self, program: str, data: str) -> tuple[Execution, str]:
        """Run a program and then its `stream(data, write)`; say how it ended, and all it wrote (streamed_output.py).

        Raises SandboxError, as run does.
        """
        answer = await self._send({"program": program, "data": data})
        return execution(answer), answer.get("output", "")

    async def _send(self, request: dict[str, Any], part: float = 1.0) -> dict[str, Any]:
        warden = await self._free.get()
        try:
            if self._closed:
                raise SandboxError("sandbox: it was closed while a program waited")
            return await self._run_on(
                warden, {**request, **self._limits, "timeout_s": part * self._limits["timeout_s"]}
            )
        except BaseException:
            warden.kill()  # what runs in it has nobody to answer to
            raise
        finally:
            self._free.put_nowait(warden)

    async def _run_on(self, warden: "WardenProcess", request: dict[str, Any]) -> dict[str, Any]:
        """Try again where a warden died; a program under which each one dies is to blame if others live."""
        reason = ""
        for attempt in range(TRIES):
            try:
                return await warden.run(request, self._spare_s)
            except WardenDied as error:
                reason = str(error)
                if self._closed:
                    raise SandboxError("sandbox: it was closed while a program ran") from None
            except SandboxError:
                if attempt == TRIES - 1:
                    raise
                await asyncio.sleep(2**attempt)  # no process or memory to be had may pass
        try:
            await warden.run({"program": {**asdict(HARMLESS), "text": HARMLESS.text}, **self._limits}, self._spare_s)
        except WardenDied as error:
            raise SandboxError(f"sandbox: the judging process keeps ending: {error}") from error
        return {"outcome": Outcome.TAMPERED, "detail": f"its judge ended under it {TRIES} times: {reason}"}

    async def _stop(self) -> None:
        self._closed = True
        await asyncio.gather(*(warden.stop() for warden in self._wardens))


class WardenProcess:
    """One warden: started when needed, replaced when dead."""

    def __init__(self, mode: str, shown: Sequence[str] | None) -> None:
        self.in_force: list[str] = []
        self.missing: dict[str, str] = {}
        self._mode = mode
        self._shown = json.dumps(shown if shown is None else list(shown))
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._folder = ""

    @property
    def pid(self) -> int | None:
        process = self._process
        return None if process is None else process.pid

    async def start(self) -> None:
        """Bring up a warden. Raises WardenDied, or SandboxError when it says that it cannot work here."""
        await self.stop()
        ours = theirs = None
        try:
            ours, theirs = socket.socketpair()
            self._folder = folders.make()
            self._reader, self._writer = await asyncio.open_connection(sock=ours)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-B", "-c", BOOT, str(ROOT), str(theirs.fileno()), self._folder, self._mode,
                self._shown,
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
        """Have one program run. Raises WardenDied when the warden ends before it answers, or never does."""
        if self._writer is None:
            await self.start()
        assert self._writer is not None
        body = json.dumps(request).encode()
        with contextlib.suppress(ConnectionError):  # _receive then finds the end of the stream, and why
            self._writer.write(LENGTH.pack(len(body)) + body)
            await self._writer.drain()
        return await self._receive(request["timeout_s"] + spare_s)

    def kill(self) -> None:
        """Make the warden end whatever runs, and itself: it watches its socket for this."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    async def stop(self) -> None:
        """End the warden and all it runs, and remove its folder. Idempotent."""
        self.kill()
        process, self._process = self._process, None
        if process is not None:
            await end(process)
        if self._folder:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            self._folder = ""

    async def _receive(self, limit_s: float) -> dict[str, Any]:
        """The next answer of a warden that is never silent for `limit_s`."""
        answer: dict[str, Any] = {"running": True}
        try:
            while "running" in answer:
                async with asyncio.timeout(limit_s):
                    header = await self._reader.readexactly(LENGTH.size)
                    answer = json.loads(await self._reader.readexactly(*LENGTH.unpack(header)))
        except TimeoutError:  # a program may have stopped it
            if self._process is not None:
                kill_group(self._process)
            raise WardenDied(f"silent for {limit_s:.0f} s; {await self._exit_reason()}") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise WardenDied(await self._exit_reason()) from None
        if "broken" in answer:
            raise SandboxError(f"sandbox: {answer['broken']}")
        return answer

    async def _exit_reason(self) -> str:
        """How the warden ended; then forget it, so that the next run starts another."""
        self.kill()
        process, self._process = self._process, None
        if process is None:
            return "stopped"
        errors = await end(process)
        lines = errors.decode(errors="replace").strip().splitlines()
        return f"exit code {process.returncode}" + (f", {lines[-1]}" if lines else "")


def execution(answer: dict[str, Any]) -> Execution:
    return Execution(
        Outcome(answer["outcome"]),
        answer["detail"],
        answer.get("wall_s", 0.0),
        answer.get("cpu_s", 0.0),
        answer.get("unconfirmed", False),
    )


async def end(process: asyncio.subprocess.Process) -> bytes:
    """Wait for a warden whose socket was closed, kill it where it does not end; give what it said last."""
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            return (await process.communicate())[1]
    except TimeoutError:
        kill_group(process)
        return (await process.communicate())[1]


def kill_group(process: asyncio.subprocess.Process) -> None:
    """Kill a warden; its program dies with it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def clean_environment() -> dict[str, str]:
    """All that programs see of the environment. A fixed hash seed: the order of sets is no part of a verdict."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
    }
