"""One program's process, from fork to its report: READY, then its token, an outcome's name, a newline and a detail.

Nothing that a program can replace, json least of all, stands between an outcome and the pipe. Before READY no code of
the program has run: BROKEN and a reason in its place are the sandbox's own word.
"""

import io
import os
import signal
import sys
from typing import NoReturn

from sandbox.guard import Guard, Limits

READY = b"\n"  # the next thing is the program: its time begins
BROKEN = b"!"
DETAIL_CHARS = 300  # escaped, with its token, below the 4096 bytes a pipe takes in one piece


def be_the_child(
    guard: Guard, program: str, limits: Limits, folder: str, report: int, token: bytes, parent: int
) -> NoReturn:
    """Confine this process, run the program, report once. The program may replace what it finds in `os`: bind first."""
    write, leave = os.write, os._exit
    try:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            guard.confine(limits, folder, report, parent)
        except OSError as error:
            write(report, BROKEN + str(error).encode())
            leave(1)
        os.environ["TMPDIR"] = folder
        sys.stdin = sys.stdout = sys.stderr = Silence()
        for name in [name for name in sys.modules if name.partition(".")[0] == "sandbox"]:
            del sys.modules[name]
        write(report, READY)
        write(report, token + execute(program))
    finally:
        leave(0)  # whatever happens, a child never returns into its parent's code


def execute(program: str) -> bytes:
    """Run as the reference evaluator does, in empty globals; give the outcome's name, a newline and a detail."""
    passed, failed_assertion = b"PASSED\n", AssertionError
    try:
        code = compile(program, "<string>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        return b"BAD_SYNTAX\n" + describe(error, program)
    except MemoryError:
        return b"OUT_OF_MEMORY\nMemoryError while compiling"
    try:
        exec(code, {})
    except MemoryError as error:
        error.__traceback__ = None  # its frames hold what filled the memory
        return b"OUT_OF_MEMORY\nMemoryError"
    except failed_assertion as error:
        return b"WRONG_ANSWER\n" + describe(error, program)
    except BaseException as error:  # noqa: BLE001 (SystemExit and whatever a program may throw)
        return b"RAISED\n" + describe(error, program)
    return passed


def describe(error: BaseException, program: str) -> bytes:
    """One line: type, message and the program's line. Whatever `str(error)` does, there is an answer."""
    try:
        detail = f"{type(error).__name__}: {str(error)[:DETAIL_CHARS]}".removesuffix(": ")
        line, trace = 0, error.__traceback__
        while trace is not None:
            line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == "<string>" else line
            trace = trace.tb_next
        if line:
            detail += f" (line {line}: {program.splitlines()[line - 1].strip()})"
        detail = " ".join(detail.split())[:DETAIL_CHARS]
    except BaseException as second:  # noqa: BLE001 (a hostile __str__)
        detail = f"an exception that cannot be shown: {type(second).__name__}"
    return detail.encode(errors="backslashreplace")


class Silence(io.StringIO):
    """Swallows output and refuses input, as the reference evaluator's streams do."""

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"string argument expected, got {type(text).__name__!r}")
        return len(text)

    def read(self, *_: object) -> str:
        raise OSError

    def readline(self, *_: object) -> str:  # type: ignore[override]
        raise OSError

    def readlines(self, *_: object) -> list[str]:  # type: ignore[override]
        raise OSError

    def readable(self) -> bool:
        return False
