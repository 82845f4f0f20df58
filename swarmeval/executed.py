"""The records of executed tasks: a program is built and run, and its output is compared outside the sandbox.

Contains no code that acts on these records. The other way of judging, by calls with plain data, is records.Suite.
"""

from dataclasses import dataclass
from typing import Literal

Rule = Literal["exact", "tokens", "numbers", "livecodebench", "checker"]


@dataclass(frozen=True, slots=True)
class Case:
    """One run of a program, and the standard output that it must produce. The expected output never enters the jail."""

    stdin: str = ""
    expected: str = ""
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of a program's output with the expected output."""

    rule: Rule = "tokens"  # exact text, whitespace-separated tokens, tokens as numbers, LiveCodeBench's, or a checker
    tolerance: float = 0.0  # absolute or relative error that "numbers" accepts
    checker: str = ""  # Python source that defines check(stdin, expected, output), which returns whether it is correct


@dataclass(frozen=True, slots=True)
class Executed:
    """The way to build, run and compare the program of a task.

    The program is the candidate and, after it, the text of the task's suite. Without cases, the tests are part of the
    program: it must reach its end and exit with code 0.
    """

    language: str  # a name in languages.yaml
    cases: tuple[Case, ...] = ()
    comparison: Comparison = Comparison()
    files: tuple[tuple[str, str], ...] = ()  # (relative path, text) of further files in its folder
    timeout_s: float | None = None  # time limit of one run; None: that of the session
    memory_mb: int | None = None  # memory of all its processes; None: that of the session
