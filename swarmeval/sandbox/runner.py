"""The pool of wardens (see warden): program text -> Execution.

Independent of models, tasks and verdicts.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Self

from swarmeval.errors import SandboxError
from swarmeval.executed import Executed
from swarmeval.records import Execution, Outcome, Program
from swarmeval.sandbox import folders
from swarmeval.sandbox.executed.capture import Captured, captured
from swarmeval.sandbox.executed.orders import Source, capture_order, order
from swarmeval.sandbox.executed.warden import TRIAL
from swarmeval.sandbox.known_calls import KnownCalls
from swarmeval.sandbox.layers.guard import MB
from swarmeval.sandbox.toolchains import Toolchain
from swarmeval.sandbox.warden_process import CALLS, EXECUTED, WardenDied, WardenProcess

SPARE_S = 90.0  # time for a warden to fork, set up and clean up, beyond the program's time limit
TRIES = 3  # for a program whose warden dies
BYTES_PER_LETTER = 64  # least memory to read and compile a program: 12 as JSON, twice, and 4 as text
HARMLESS = Program("pass")
FIELDS = tuple(field.name for field in fields(Program) if field.name not in ("executed", "memory_mb"))


@dataclass(frozen=True, slots=True)
class Slot:
    """The processes that judge one program at a time: one by calls, and one for executed programs if there are any."""

    calls: WardenProcess
    executed: WardenProcess | None

    @property
    def wardens(self) -> tuple[WardenProcess, ...]:
        return (self.calls,) if self.executed is None else (self.calls, self.executed)


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
        yields: bool = False,
        toolchains: Mapping[str, Toolchain] | None = None,
    ) -> None:
        """A warden that is silent for `spare_s` beyond a program's time limit is killed and replaced.

        `mode`: "strict" refuses to run if a layer is missing, "auto" uses the available layers, "none" uses no layers.
        `shown`: files and folders that programs may read besides Python itself; None: all installed packages.
        `yields`: whether programs get the lowest priority, for use beside replicas that compute on the same cores.
        `toolchains`: those of executed programs, by language. The memory limit of these holds for all their processes.
        """
        self._mode = mode
        self._limits = {"timeout_s": timeout_s, "memory_mb": memory_mb}
        self._scale = 1.0
        self._spare_s = spare_s
        self._toolchains = toolchains or {}
        places = sorted({place for toolchain in self._toolchains.values() for place in toolchain.places})
        self._slots = [
            Slot(
                WardenProcess(CALLS, mode, shown, yields),
                WardenProcess(EXECUTED, mode, places, yields) if self._toolchains else None,
            )
            for _ in range(workers)
        ]
        self._free: asyncio.Queue[Slot] = asyncio.Queue()
        self._known_calls = KnownCalls()
        self._closed = False

    async def __aenter__(self) -> Self:
        """Start the wardens. Raises SandboxError if programs cannot be run on this machine."""
        if sys.platform != "linux":
            raise SandboxError(f"sandbox: programs can only be judged on Linux; this is {sys.platform}")
        await asyncio.to_thread(folders.sweep)
        try:
            await asyncio.gather(*(warden.start() for slot in self._slots for warden in slot.wardens))
        except WardenDied as error:
            await self._stop()
            raise SandboxError(f"sandbox: the judging process does not start: {error}") from error
        except BaseException:
            await self._stop()
            raise
        if self._mode == "strict" and (missing := self.missing()):
            await self._stop()
            reasons = "; ".join(f"{layer}: {reason}" for layer, reason in missing.items())
            raise SandboxError(f"sandbox: 'strict' needs all layers, but these are missing: {reasons}; use auto")
        for slot in self._slots:
            self._free.put_nowait(slot)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def set_timeout(self, timeout_s: float, scale: float = 1.0) -> None:
        """Set the time limit of programs that start from now on, and the factor on limits that tasks set."""
        self._limits = {**self._limits, "timeout_s": timeout_s}
        self._scale = scale

    def in_force(self) -> str:
        """The active layers in one line."""
        return ", ".join(self._slots[0].calls.in_force)

    def missing(self) -> dict[str, str]:
        """The missing layers with reasons."""
        return {layer: reason for warden in self._slots[0].wardens for layer, reason in warden.missing.items()}

    def pids(self) -> tuple[int, ...]:
        """PIDs of the running wardens, the ancestors of all programs. May be called from any thread."""
        return tuple(pid for slot in self._slots for warden in slot.wardens if (pid := warden.pid) is not None)

    def socket_fds(self) -> tuple[int, ...]:
        """File descriptors of the wardens' sockets. A copy of one, as a forked process has it, keeps a warden alive."""
        wardens = [warden for slot in self._slots for warden in slot.wardens]
        return tuple(fd for warden in wardens if (fd := warden.socket_fd) is not None)

    async def run(self, program: Program, part: float = 1.0) -> Execution:
        """Run one program within this part of the time limit. Cancellation kills the program at once.

        Raises SandboxError if the sandbox itself fails, which never counts against the program.
        """
        if program.executed is not None:
            return execution(await self._send(self._order(program, program.executed, part), executes=True))
        limits = self._limits_of(part)
        memory_mb = limits["memory_mb"] = program.memory_mb or limits["memory_mb"]
        if BYTES_PER_LETTER * len(program.text) > memory_mb * MB:
            return Execution(Outcome.OUT_OF_MEMORY, f"{len(program.text):,} characters are too many for {memory_mb} MB")
        answer = await self._send({"program": self._request(program), **limits})
        ended = execution(answer)
        if program.is_reference:
            self._known_calls.learn(program, answer.get("calls", ()) if ended.outcome is Outcome.PASSED else ())
        return ended

    def knows_calls(self, reference: Program) -> bool:
        """Whether this reference solution has run, and its calls are still in memory."""
        return self._known_calls.knows(reference)

    async def stream(self, program: str, data: str) -> tuple[Execution, str]:
        """Run a program and then its `stream(data, write)`; return how it ended and its output (see streamed_output).

        Raises SandboxError, as run does.
        """
        answer = await self._send({"program": program, "data": data, **self._limits})
        return execution(answer), answer.get("output", "")

    async def capture(self, source: Source) -> Captured:
        """Build and run a program for its output. Cancellation kills it at once. Raises SandboxError.

        Raises WardenDied if the program ends its judge.
        """
        order = capture_order(source, self._toolchains[source.language], self._scale)
        limits = {"timeout_s": self._scale * source.run_s, "memory_mb": source.memory_mb}
        answer = await self._send({"captured": order, **limits}, executes=True)
        if "outcome" in answer:
            raise WardenDied(answer["detail"])
        return captured(answer)

    def _limits_of(self, part: float) -> dict[str, Any]:
        return {**self._limits, "timeout_s": part * self._limits["timeout_s"]}

    def _request(self, program: Program) -> dict[str, Any]:
        """The request to a warden for a program with tests that call it."""
        return {
            **{name: getattr(program, name) for name in FIELDS},
            "text": program.text,
            "calls": self._known_calls.ahead(program),
        }

    def _order(self, program: Program, executed: Executed, part: float) -> dict[str, Any]:
        """The request to a warden for an executed program. The limits that a task sets replace those of the run."""
        limits = self._limits_of(part)
        if executed.timeout_s is not None:
            limits["timeout_s"] = part * self._scale * executed.timeout_s
        if executed.memory_mb is not None:
            limits["memory_mb"] = executed.memory_mb
        toolchain = self._toolchains[executed.language]
        return {"executed": order(program, executed, toolchain, limits["memory_mb"], self._scale), **limits}

    async def _send(self, request: dict[str, Any], executes: bool = False) -> dict[str, Any]:
        slot = await self._free.get()
        warden = slot.executed if executes else slot.calls
        assert warden is not None
        try:
            if self._closed:
                raise SandboxError("sandbox: closed while a program was waiting")
            return await self._run_on(warden, request)
        except BaseException:
            warden.kill()  # the caller no longer waits for the program
            raise
        finally:
            self._free.put_nowait(slot)

    async def _run_on(self, warden: WardenProcess, request: dict[str, Any]) -> dict[str, Any]:
        """Retry if a warden dies. If all tries fail but a harmless program runs, the program is to blame."""
        reason = ""
        for attempt in range(TRIES):
            try:
                return await warden.run(request, self._spare_s)
            except WardenDied as error:
                reason = str(error)
                if self._closed:
                    raise SandboxError("sandbox: closed while a program was running") from None
            except SandboxError:
                if attempt == TRIES - 1:
                    raise
                await asyncio.sleep(2**attempt)  # a lack of processes or memory may be temporary
        harmless = {"program": self._request(HARMLESS)} if "program" in request else {"executed": TRIAL}
        try:
            await warden.run({**harmless, **self._limits}, self._spare_s)
        except WardenDied as error:
            raise SandboxError(f"sandbox: the judging process keeps ending: {error}") from error
        return {"outcome": Outcome.TAMPERED, "detail": f"the program ended its judge {TRIES} times: {reason}"}

    async def _stop(self) -> None:
        self._closed = True
        await asyncio.gather(*(warden.stop() for slot in self._slots for warden in slot.wardens))


def execution(answer: dict[str, Any]) -> Execution:
    return Execution(
        Outcome(answer["outcome"]),
        answer["detail"],
        answer.get("wall_s", 0.0),
        answer.get("cpu_s", 0.0),
        answer.get("unconfirmed", False),
    )
