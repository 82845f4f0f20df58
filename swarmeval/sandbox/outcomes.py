"""The outcome of a child, from how it ended and what it reported. Neither is assumed to be honest."""

import os
import signal
from typing import Any

from swarmeval.sandbox.child import BROKEN, READY
from swarmeval.sandbox.jail_handle import SandboxFault
from swarmeval.sandbox.tests_side import GARBLED, LOST

REPORTED = (b"PASSED", b"WRONG_ANSWER", b"RAISED", b"OUT_OF_MEMORY", b"BAD_SYNTAX")  # outcomes that a child may report
MEMORY_SHARE = 0.5  # a program that a signal kills at this share of its memory, or more, ran out of memory
DETAIL_CHARS = 600


def outcome(end: dict[str, Any], report: bytes, timeout_s: float, memory_mb: int) -> dict[str, Any]:
    """The outcome of a child. Raises SandboxFault if the program never began."""
    if report.startswith(BROKEN):
        raise SandboxFault(report[len(BROKEN) :].decode(errors="replace"))
    body = report.removeprefix(READY)
    if end["end"] == "limit" and not complete(body):
        where = last_line(body)
        return _result("TIMED_OUT", f"no end after {timeout_s:g} s" + (f", in line {where}" if where else ""), end)
    if not report.startswith(READY):
        raise SandboxFault("a program could not be started")
    if not body:
        return _result(*describe_death(end["status"], end["peak_mb"], memory_mb), end)
    word, _, detail = body.partition(b"\n")
    if word not in REPORTED:
        return _result("TAMPERED", "the program wrote to the judge's channel", end)
    text, _, extra = detail.decode(errors="replace").partition("\n")
    value = extra.strip() if end["end"] != "limit" else ""  # at the limit, this is a traceback
    return _result(word.decode(), f"{text}; {value}" if value else text, end)


def program_side_outcome(end: dict[str, Any], report: bytes, timeout_s: float, memory_mb: int) -> dict[str, Any]:
    """The outcome of a program's process after its tests ended; PASSED if we killed it, even before it began."""
    is_killed = os.WIFSIGNALED(end["status"]) and os.WTERMSIG(end["status"]) == signal.SIGKILL
    if end["end"] == "stopped" and is_killed and report in (b"", READY):
        return _result("PASSED", "", end)
    return outcome(end, report, timeout_s, memory_mb)


def judged(
    tests_end: dict[str, Any], report: bytes, program_verdict: dict[str, Any], timeout_s: float, memory_mb: int
) -> dict[str, Any]:
    """The outcome of a program whose tests ran apart from it.

    The tests' report decides. If the program gave them no answer, the end of its own process decides
    (`program_verdict`: see program_side_outcome).
    """
    body = report.removeprefix(READY)
    if not body.startswith((LOST, GARBLED)):
        return outcome(tests_end, report, timeout_s, memory_mb)
    if body.startswith(LOST) and program_verdict["outcome"] != "PASSED":
        return {**program_verdict, "wall_s": tests_end["wall_s"]}
    reason = body.partition(b"\n")[2].decode(errors="replace").strip()
    return _result("TAMPERED", f"the program broke the protocol of its tests: {reason}", tests_end)


def complete(report: bytes) -> bool:
    return report.partition(b"\n")[0] in REPORTED


def last_line(report: bytes) -> str:
    """The line of the program in the traceback that a child wrote at its limit."""
    for text in report.decode(errors="replace").splitlines():
        if 'File "<string>", line ' in text:
            return text.partition(", line ")[2][:80]
    return ""


def describe_death(status: int, peak_mb: float, memory_mb: int) -> tuple[str, str]:
    """Outcome and detail for a child that ended without a report, from its wait status and peak resident memory."""
    if not os.WIFSIGNALED(status):
        return "CRASHED", f"ended without a report, exit code {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    name = signal.Signals(number).name if number < signal.SIGRTMIN else f"real-time signal {number}"
    if number == signal.SIGXCPU:
        return "TIMED_OUT", f"{name}: CPU time limit"
    if peak_mb >= MEMORY_SHARE * memory_mb:
        return "OUT_OF_MEMORY", f"{name} at {peak_mb:.0f} of {memory_mb} MB"
    return "CRASHED", name


def _result(word: str, detail: str, end: dict[str, Any]) -> dict[str, Any]:
    """Build a result. A program may have written the detail, so it becomes one short line of printable characters."""
    line = "".join(letter if letter.isprintable() else "?" for letter in detail[:DETAIL_CHARS])
    return {"outcome": word, "detail": line, "wall_s": end["wall_s"]}
