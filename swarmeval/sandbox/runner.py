"""The pool that runs programs on a fixed number of wardens (see warden): program text -> Execution.

Does not know models, tasks or verdicts.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from swarmeval.errors import SandboxError
from swarmeval.records import Execution, Outcome, Program
from swarmeval.sandbox import folders
from swarmeval.sandbox.known_calls import KnownCalls
from swarmeval.sandbox.layers.guard import MB
from swarmeval.sandbox.warden_process import WardenDied, WardenProcess

SPARE_S = 90.0  # a warden's time beyond a program's limit, to fork, set up and clean up
TRIES = 3  # of a program whose warden dies while running it
# The least memory to read and compile a program, per character. Reading takes 12 bytes as JSON, twice, and 4 as text.
BYTES_PER_LETTER = 64
HARMLESS = Program("pass")


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
        """A warden that is silent for `spare_s` beyond a program's time is killed and replaced.

        `mode`: "strict" refuses to run if a layer is missing, "auto" runs with the available ones, "none" adds none.
        `shown`: files and folders that programs may read in addition to Python itself; None: all installed packages.
        """
        self._mode = mode
        self._limits = {"timeout_s": timeout_s, "memory_mb": memory_mb}
        self._spare_s = spare_s
        self._wardens = [WardenProcess(mode, shown) for _ in range(workers)]
        self._free: asyncio.Queue[WardenProcess] = asyncio.Queue()
        self._known_calls = KnownCalls()
        self._closed = False

    async def __aenter__(self) -> Self:
        """Start the wardens. Raises SandboxError if programs cannot run here."""
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
        """Set the time limit of programs that start from now on."""
        self._limits = {**self._limits, "timeout_s": timeout_s}

    def in_force(self) -> str:
        """The layers around every program, in one line."""
        return ", ".join(self._wardens[0].in_force)

    def missing(self) -> dict[str, str]:
        """The layers that are not in force here, and why."""
        return self._wardens[0].missing

    def pids(self) -> tuple[int, ...]:
        """PIDs of the live wardens, from which all processes here descend. May be called from any thread."""
        return tuple(pid for warden in self._wardens if (pid := warden.pid) is not None)

    async def run(self, program: Program, part: float = 1.0) -> Execution:
        """Run one program for this part of the time limit; return how it ended. Cancelling kills the program at once.

        Raises SandboxError if the sandbox itself fails, which is never the program's verdict.
        """
        memory_mb = self._limits["memory_mb"]
        if BYTES_PER_LETTER * len(program.text) > memory_mb * MB:
            return Execution(Outcome.OUT_OF_MEMORY, f"{len(program.text):,} characters do not fit in {memory_mb} MB")
        answer = await self._send({"program": self._request(program)}, part)
        ended = execution(answer)
        if program.is_reference and ended.outcome is Outcome.PASSED and "calls" in answer:
            self._known_calls.learn(program, answer["calls"])
        return ended

    async def stream(self, program: str, data: str) -> tuple[Execution, str]:
        """Run a program, then its `stream(data, write)`; return how it ended and all that it wrote.

        See streamed_output.py. Raises SandboxError, as run() does.
        """
        answer = await self._send({"program": program, "data": data})
        return execution(answer), answer.get("output", "")

    def _request(self, program: Program) -> dict[str, Any]:
        """The fields of a program that a warden needs."""
        return {**asdict(program), "text": program.text, "calls": self._known_calls.ahead(program)}

    async def _send(self, request: dict[str, Any], part: float = 1.0) -> dict[str, Any]:
        warden = await self._free.get()
        try:
            if self._closed:
                raise SandboxError("sandbox: closed while a program waited")
            return await self._run_on(
                warden, {**request, **self._limits, "timeout_s": part * self._limits["timeout_s"]}
            )
        except BaseException:
            warden.kill()  # the program's result is no longer wanted
            raise
        finally:
            self._free.put_nowait(warden)

    async def _run_on(self, warden: WardenProcess, request: dict[str, Any]) -> dict[str, Any]:
        """Try again if a warden dies. If it dies each time but survives a harmless program, the program is to blame."""
        reason = ""
        for attempt in range(TRIES):
            try:
                return await warden.run(request, self._spare_s)
            except WardenDied as error:
                reason = str(error)
                if self._closed:
                    raise SandboxError("sandbox: closed while a program ran") from None
            except SandboxError:
                if attempt == TRIES - 1:
                    raise
                await asyncio.sleep(2**attempt)  # a lack of processes or memory may pass
        try:
            await warden.run({"program": self._request(HARMLESS), **self._limits}, self._spare_s)
        except WardenDied as error:
            raise SandboxError(f"sandbox: the judging process keeps ending: {error}") from error
        return {"outcome": Outcome.TAMPERED, "detail": f"its judge ended {TRIES} times while running it: {reason}"}

    async def _stop(self) -> None:
        self._closed = True
        await asyncio.gather(*(warden.stop() for warden in self._wardens))


def execution(answer: dict[str, Any]) -> Execution:
    return Execution(
        Outcome(answer["outcome"]),
        answer["detail"],
        answer.get("wall_s", 0.0),
        answer.get("cpu_s", 0.0),
        answer.get("unconfirmed", False),
    )
