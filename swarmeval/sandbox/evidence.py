"""Recomputes the value that a failed assertion compared, for display. Verdicts do not depend on it."""

import ast
import reprlib
from types import FrameType

SHOWN_CHARS = 120


def evidence(error: BaseException, program: str) -> bytes:
    """The recomputed left side of the failed comparison, in one line, or nothing.

    This calls the program again, so it runs after the report, in the remaining time.
    """
    try:
        frame, line = place(error)
        compared = None if frame is None else asserted(program.splitlines()[line - 1].strip())
        if frame is None or compared is None:
            return b""
        value = eval(compile(ast.Expression(compared), "<evidence>", "eval"), frame.f_globals, frame.f_locals)
        short = reprlib.Repr()
        short.maxstring = short.maxother = short.maxlong = SHOWN_CHARS
        shown = short.repr(value)
        text = " ".join(f"{ast.unparse(compared)[:SHOWN_CHARS]} gives {shown[:SHOWN_CHARS]}".split())
    except BaseException:  # noqa: BLE001 (a hostile __repr__, a program that now raises, an assertion over two lines)
        return b""
    return text.encode(errors="backslashreplace")


def asserted(line: str) -> ast.expr | None:
    """The left side of the comparison in a one-line assertion; None for other statements and for constants."""
    statement = ast.parse(line).body[0]
    if not isinstance(statement, ast.Assert):
        return None
    compared = statement.test.left if isinstance(statement.test, ast.Compare) else statement.test
    return None if isinstance(compared, ast.Constant) else compared


def place(error: BaseException) -> tuple[FrameType | None, int]:
    """(the innermost frame of the program in a traceback, its line)."""
    frame, line, trace = None, 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<string>":
            frame, line = trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
    return frame, line
