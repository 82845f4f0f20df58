"""Derives the outcome of a child from its end and its report, neither of which is trusted."""

import os
import signal
from typing import Any

from swarmeval.sandbox.child import BROKEN, READY
from swarmeval.sandbox.jail_handle import SandboxFault
from swarmeval.sandbox.tests_side import GARBLED, LOST

REPORTED = (b"PASSED", b"WRONG_ANSWER", b"RAISED", b"OUT_OF_MEMORY", b"BAD_SYNTAX")  # outcomes that a child may report
MEMORY_SHARE = 0.5  # a program killed at this share of its memory limit is taken as out of memory
DETAIL_CHARS = 600


def outcome(end: dict[str, Any], report: bytes, timeout_s: float, memory_mb: int) -> dict[str, Any]:
    """The outcome of a child. Raises SandboxFault if the program never started."""
    if report.startswith(BROKEN):
        raise SandboxFault(report[len(BROKEN) :].decode(errors="replace"))
    body = report.removeprefix(READY)
    if end["end"] == "limit" and not complete(body):
        where = last_line(body)
        return _result(
            "TIMED_OUT", f"Time limit exceeded: {timeout_s:g} s" + (f", in line {where}" if where else ""), end
        )
    if not report.startswith(READY):
        raise SandboxFault("a program could not be started")
    if not body:
        return _result(*describe_death(end["status"], end["peak_mb"], memory_mb), end)
    word, _, detail = body.partition(b"\n")
    if word not in REPORTED:
        return _result("TAMPERED", "the program wrote to the judge's channel", end)
    text, _, extra = detail.decode(errors="replace").partition("\n")
    value = (
        extra.strip() if end["end"] != "limit" else ""
    )  # at a limit it is a traceback, which does not affect the outcome
    return _result(word.decode(), f"{text}; {value}" if value else text, end)


def program_side_outcome(end: dict[str, Any], report: bytes, timeout_s: float, memory_mb: int) -> dict[str, Any]:
    """The outcome of a program's process after its tests ended. The warden may have killed it before it started."""
    is_killed = os.WIFSIGNALED(end["status"]) and os.WTERMSIG(end["status"]) == signal.SIGKILL
    if end["end"] == "stopped" and is_killed and report in (b"", READY):
        return _result("PASSED", "", end)
    return outcome(end, report, timeout_s, memory_mb)


def judged(
    tests_end: dict[str, Any], report: bytes, program_verdict: dict[str, Any], timeout_s: float, memory_mb: int
) -> dict[str, Any]:
    """The outcome of a program whose tests ran in another process.

    If the program gave no answer, its own end decides (`program_verdict`: see program_side_outcome).
    """
    body = report.removeprefix(READY)
    if not body.startswith((LOST, GARBLED)):
        return outcome(tests_end, report, timeout_s, memory_mb)
    if body.startswith(LOST) and program_verdict["outcome"] != "PASSED":
        return {**program_verdict, "wall_s": tests_end["wall_s"]}
    reason = body.partition(b"\n")[2].decode(errors="replace").strip()
    return _result("TAMPERED", f"the program broke the protocol with its tests: {reason}", tests_end)


def complete(report: bytes) -> bool:
    return report.partition(b"\n")[0] in REPORTED


def last_line(report: bytes) -> str:
    """The program's line in the traceback of a child at its limit."""
    for text in report.decode(errors="replace").splitlines():
        if 'File "<string>", line ' in text:
            return text.partition(", line ")[2][:80]
    return ""


def describe_death(status: int, peak_mb: float, memory_mb: int) -> tuple[str, str]:
    """(outcome, detail) of a child that ended without a report."""
    if not os.WIFSIGNALED(status):
        return "CRASHED", f"The interpreter crashed with no output, exit code {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    name = signal.Signals(number).name if number < signal.SIGRTMIN else f"real-time signal {number}"
    if number == signal.SIGXCPU:
        return "TIMED_OUT", f"{name}: CPU time limit"
    if peak_mb >= MEMORY_SHARE * memory_mb:
        return "OUT_OF_MEMORY", f"Memory limit exceeded: {name} at {peak_mb:.0f} of {memory_mb} MB"
    return "CRASHED", name


def _result(word: str, detail: str, end: dict[str, Any]) -> dict[str, Any]:
    """A result with its detail sanitized: bounded, on one line, without control characters."""
    line = "".join(letter if letter.isprintable() else "?" for letter in detail[:DETAIL_CHARS])
    return {"outcome": word, "detail": line, "wall_s": end["wall_s"]}
