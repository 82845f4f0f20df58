"""The warden's handle of a jail that runs commands: writes a program's files and runs commands beside them."""

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from swarmeval.sandbox.frames import write_frame
from swarmeval.sandbox.jail_handle import JailGone, JailHandle

# Returns the next message of the jail. Raises SandboxFault, or NobodyWaits if the coordinator is gone.
Receive = Callable[[JailHandle], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one command."""

    timeout_s: float
    memory_mb: int  # of all its processes
    most_output: int = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """The end of one command."""

    reason: str  # "ended", or what it reached: "limit", "memory", "output"
    exit_code: int  # negative: the signal that ended it
    cannot_run: bool  # whether a command outside the folder of the files could not be started
    output: str
    errors: str  # the beginning and the end of its standard error
    peak_mb: float
    cpu_s: float
    wall_s: float

    @property
    def succeeded(self) -> bool:
        return self.reason == "ended" and self.exit_code == 0

    @property
    def signal_name(self) -> str:
        """The signal that ended the command; "" if none did."""
        if self.exit_code >= 0:
            return ""
        with contextlib.suppress(ValueError):
            return signal.Signals(-self.exit_code).name
        return f"signal {-self.exit_code}"


class CommandJail:
    """A jail and the program whose files are in it."""

    def __init__(self, jail: JailHandle, receive: Receive) -> None:
        self._jail = jail
        self._receive = receive

    def begin(self, files: Sequence[tuple[str, str]]) -> None:
        """Start over with these files only. Raises SandboxFault."""
        self._send({"files": files})
        self._receive(self._jail)

    def run(self, argv: Sequence[str], limits: Limits, environment: Mapping[str, str], stdin: str = "") -> CommandEnd:
        """Run a command in the folder of the files. Raises SandboxFault."""
        data = stdin.encode(errors="surrogatepass")
        order = {"argv": argv, "environment": environment, "stdin": len(data), "timeout_s": limits.timeout_s}
        self._send({**order, "memory_mb": limits.memory_mb, "most_output": limits.most_output}, data)
        end = self._receive(self._jail)
        output, errors = (self._jail.receive_bytes(end[name]) for name in ("stdout", "stderr"))
        return CommandEnd(
            end["end"], os.waitstatus_to_exitcode(end["status"]), end["cannot_run"],
            output.decode(errors="replace"), errors.decode(errors="replace"), end["peak_mb"], end["cpu_s"],
            end["wall_s"],
        )  # fmt: skip

    def _send(self, message: dict[str, Any], data: bytes = b"") -> None:
        try:
            write_frame(self._jail.link, message)
            self._jail.link.sendall(data)
        except OSError as error:
            raise JailGone(f"its jail is gone: {error}") from None
