"""Runs a program as the reference evaluator does, and describes in one line how it ended."""

import io
import sys
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, NoReturn

from swarmeval.sandbox.evidence import evidence, place

DETAIL_CHARS = 300


def silence() -> None:
    """Disable the standard streams, as the reference evaluator does."""
    sys.stdin = sys.stdout = sys.stderr = Silence()


def run(program: str) -> Iterator[bytes]:
    """Yield the report of a program, then the evidence of a failed assertion."""
    failed: list[BaseException] = []
    yield execute(program, failed=failed)
    if failed:
        yield evidence(failed[0], program)


def compiled(text: str) -> CodeType:
    """Compile a program as the reference evaluator does."""
    return compile(text, "<string>", "exec", dont_inherit=True)


def execute(
    program: str,
    then: Callable[[dict[str, Any]], None] | None = None,
    text: str = "",
    failed: list[BaseException] | None = None,
    code_of: Callable[[str], CodeType] = compiled,
) -> bytes:
    """Run a program in empty globals, then call `then` with them; return the outcome's name, a newline and a detail.

    `text`: the source whose lines a detail may quote, if it is not the program. An AssertionError is also appended to
    `failed`. `code_of` compiles.
    """
    text = text or program
    passed, failed_assertion = b"PASSED\n", AssertionError
    try:
        code = code_of(program)
    except (SyntaxError, ValueError, RecursionError) as error:
        return b"BAD_SYNTAX\n" + describe(error, program)
    except MemoryError:
        return b"OUT_OF_MEMORY\nMemoryError while compiling"
    names: dict[str, Any] = {}
    try:
        exec(code, names)
        if then is not None:
            then(names)
    except MemoryError as error:
        error.__traceback__ = None  # releases the frames and their data
        return b"OUT_OF_MEMORY\nMemoryError"
    except failed_assertion as error:
        if failed is not None:
            failed.append(error)
        return b"WRONG_ANSWER\n" + describe(error, text)
    except BaseException as error:  # noqa: BLE001 (SystemExit and whatever a program may throw)
        return b"RAISED\n" + describe(error, text)
    return passed


def describe(error: BaseException, program: str) -> bytes:
    """The type, message and line of an exception, in one line, even if `str(error)` fails."""
    try:
        detail = f"{type(error).__name__}: {str(error)[:DETAIL_CHARS]}".removesuffix(": ")
        if line := place(error)[1]:
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

    def read(self, *_: object) -> NoReturn:
        raise OSError

    def readline(self, *_: object) -> NoReturn:
        raise OSError

    def readlines(self, *_: object) -> NoReturn:
        raise OSError

    def readable(self) -> bool:
        return False
