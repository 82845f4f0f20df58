"""Turns an executed program and its toolchain into the order that a warden gets: plain data, with resolved commands."""

import secrets
from dataclasses import dataclass
from typing import Any

from swarmeval.executed import Executed
from swarmeval.records import Program
from swarmeval.sandbox.toolchains import Toolchain, command, program_text

SECRET_BYTES = 16
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Source:
    """A program to build and run, and the limits of both."""

    language: str
    text: str
    stdin: str
    files: tuple[tuple[str, str], ...]  # (relative path, text) of further files in its folder
    build_s: float
    run_s: float
    memory_mb: int


def order(program: Program, executed: Executed, toolchain: Toolchain, memory_mb: int, scale: float) -> dict[str, Any]:
    """The order for a program with this memory limit. `scale`: the factor on time limits, also on that of the build.

    A program without cases contains its tests. It gets a new secret, which it has to print after them.
    """
    secret = "" if executed.cases else secrets.token_hex(SECRET_BYTES)
    text = program_text(toolchain, program.solution, program.tests, secret) if secret else program.text
    return {
        "files": [*executed.files, (toolchain.file, text)],
        "build": command(toolchain.build, memory_mb),
        "run": command(toolchain.run, memory_mb),
        "check": command(toolchain.check, memory_mb),
        "environment": {**ENVIRONMENT, **dict(toolchain.environment)},
        "cases": [(case.stdin, case.expected, case.arguments) for case in executed.cases],
        "rule": executed.comparison.rule,
        "tolerance": executed.comparison.tolerance,
        "checker": executed.comparison.checker,
        "secret": secret,
        "failure_exit_code": toolchain.failure_exit_code,
        "failure_output": toolchain.failure_output,
        "scale": scale,
    }


def capture_order(source: Source, toolchain: Toolchain, scale: float) -> dict[str, Any]:
    """The order for a warden. `scale`: the factor on time limits."""
    return {
        "files": [*source.files, (toolchain.file, source.text)],
        "build": command(toolchain.build, source.memory_mb),
        "run": command(toolchain.run, source.memory_mb),
        "environment": {**ENVIRONMENT, **dict(toolchain.environment)},
        "stdin": source.stdin,
        "build_s": scale * source.build_s,
    }
