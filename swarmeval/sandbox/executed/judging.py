"""Builds a program, runs its cases and compares outputs. Expected and actual outputs meet here, outside the jail.

The order (see orders.py) has the resolved commands of a toolchain, the files, and the cases with the expected outputs.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from swarmeval.sandbox.executed.comparison import difference
from swarmeval.sandbox.executed.handle import CommandEnd, CommandJail, Limits
from swarmeval.sandbox.executed.jail import CANNOT_RUN
from swarmeval.sandbox.jail_handle import SandboxFault

BUILD_LIMITS = Limits(timeout_s=60.0, memory_mb=4096, most_output=1 << 16)
SPARE_OUTPUT = 1 << 24  # bytes that a program may print beyond the expected output
DETAIL_CHARS = 300
COMPLAINT_CHARS = 1 << 16  # of the end of a text, in which the line that says most is sought
OUT_OF_MEMORY = re.compile(r"OutOfMemoryError|out of memory|bad_alloc|MemoryError|not enough memory", re.IGNORECASE)
COMPLAINT = re.compile(r"error|exception|panic|fatal|fail|undefined|unexpected|cannot", re.IGNORECASE)

Verdict = dict[str, Any]  # "outcome", "detail", "wall_s", "cpu_s"
Check = Callable[[str, str, str], str]  # stdin, expected, output -> evidence of a wrong answer, or ""


class ProgramJudge:
    """Judges one program in the jail that holds its files."""

    def __init__(self, jail: CommandJail, order: dict[str, Any], limits: Limits, check: Check | None = None) -> None:
        """`check` replaces the rules of comparison."""
        self._jail = jail
        self._order = order
        self._limits = limits
        self._check = check or self._compare
        self._wall_s = self._cpu_s = 0.0

    def verdict(self) -> Verdict:
        """Build and run the program until a case fails. Raises SandboxFault."""
        self._jail.begin(self._order["files"])
        failure = self._build() or (self._run_cases() if self._order["cases"] else self._run_tests())
        outcome, detail = failure or ("PASSED", "")
        line = "".join(letter if letter.isprintable() else " " for letter in detail[: 2 * DETAIL_CHARS])
        shown = " ".join(line.split())[:DETAIL_CHARS]
        return {"outcome": outcome, "detail": shown, "wall_s": self._wall_s, "cpu_s": self._cpu_s}

    def _build(self) -> tuple[str, str] | None:
        if not self._order["build"]:
            return None
        end = self._command(self._order["build"], self._build_limits())
        if end.succeeded:
            return None
        if end.exit_code == CANNOT_RUN:  # compilers do not run the program, so it cannot cause this
            raise SandboxFault(f"the toolchain cannot be run: {complaint(end.errors)}")
        if end.reason == "ended" and end.exit_code > 0:
            return "BAD_SYNTAX", complaint(end.errors or end.output)
        return failed(end, BUILD_LIMITS, "while building: ")

    def _build_limits(self) -> Limits:
        return replace(BUILD_LIMITS, timeout_s=self._order["scale"] * BUILD_LIMITS.timeout_s)

    def _run_cases(self) -> tuple[str, str] | None:
        cases = self._order["cases"]
        for number, (stdin, expected, arguments) in enumerate(cases, start=1):
            limits = replace(self._limits, most_output=SPARE_OUTPUT + 2 * len(expected.encode(errors="surrogatepass")))
            end = self._command([*self._order["run"], *arguments], limits, stdin)
            where = f"case {number} of {len(cases)}: "
            if not end.succeeded:
                return self._failure(end, limits, where)
            if evidence := self._check(stdin, expected, end.output):
                return "WRONG_ANSWER", where + evidence
        return None

    def _run_tests(self) -> tuple[str, str] | None:
        """Run a program that contains its tests. It passed if it printed its secret, and exited with 0."""
        limits = replace(self._limits, most_output=SPARE_OUTPUT)
        end = self._command(self._order["run"], limits)
        if not end.succeeded:
            return self._failure(end, limits)
        if re.search(rf"^{self._order['secret']}\r?$", end.output, re.MULTILINE) is None:
            return "RAISED", "it ended with exit code 0 before its tests had ended"
        return None

    def _failure(self, end: CommandEnd, limits: Limits, where: str = "") -> tuple[str, str]:
        """The outcome of a run that failed. Raises SandboxFault if the toolchain is to blame."""
        if end.cannot_run:
            raise SandboxFault(f"the toolchain cannot be run: {complaint(end.errors)}")
        if end.reason == "ended" and end.exit_code != 0:
            text = f"{end.errors}\n{end.output[-DETAIL_CHARS * 10 :]}"
            if not self._order["cases"] and self._is_failed_assertion(end.exit_code, text):
                return "WRONG_ANSWER", where + complaint(text, self._order["failure_output"])
            if end.exit_code > 0 and OUT_OF_MEMORY.search(text):
                return "OUT_OF_MEMORY", where + complaint(text, OUT_OF_MEMORY.pattern)
            if end.exit_code > 0 and self._order["check"]:
                syntax = self._command(self._order["check"], self._build_limits())
                if syntax.reason == "ended" and syntax.exit_code > 0 and syntax.exit_code != CANNOT_RUN:
                    return "BAD_SYNTAX", complaint(syntax.errors or syntax.output)
        return failed(end, limits, where)

    def _is_failed_assertion(self, exit_code: int, text: str) -> bool:
        """Whether a run ended in an assertion of its tests, rather than in an exception."""
        code, pattern = self._order["failure_exit_code"], self._order["failure_output"]
        is_known = code is not None or bool(pattern)
        return is_known and code in (None, exit_code) and re.search(pattern, text, re.MULTILINE) is not None

    def _command(self, argv: list[str], limits: Limits, stdin: str = "") -> CommandEnd:
        end = self._jail.run(argv, limits, self._order["environment"], stdin)
        self._wall_s += end.wall_s
        self._cpu_s += end.cpu_s
        return end

    def _compare(self, stdin: str, expected: str, output: str) -> str:
        return difference(self._order["rule"], self._order["tolerance"], expected, output)


def failed(end: CommandEnd, limits: Limits, where: str) -> tuple[str, str]:
    """The outcome and detail of a command that did not succeed."""
    if end.reason == "limit":
        return "TIMED_OUT", f"{where}Time limit exceeded: {limits.timeout_s:g} s"
    if end.reason == "memory":
        return "OUT_OF_MEMORY", f"{where}Memory limit exceeded: {end.peak_mb:.0f} of {limits.memory_mb} MB"
    if end.reason == "output":
        return "WRONG_ANSWER", f"{where}it printed more than {limits.most_output:,} bytes"
    if end.exit_code < 0:
        return "CRASHED", where + end.signal_name
    return "RAISED", f"{where}exit code {end.exit_code}: {complaint(end.errors or end.output)}"


def complaint(text: str, pattern: str = "") -> str:
    """The line of an error text that says most: the first that matches the pattern, names an error, or is the last.

    Indented lines come second: they quote source code, as in the traceback of an exception.
    """
    lines = sorted(filter(str.strip, text[-COMPLAINT_CHARS:].splitlines()), key=lambda line: line[0].isspace())
    for wanted in (re.compile(pattern) if pattern else COMPLAINT, COMPLAINT):
        if found := next(filter(wanted.search, lines), None):
            return found.strip()
    return last_line(text)


def last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2].strip() or "no message"
