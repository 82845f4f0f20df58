"""Builds and runs a program and returns its output, instead of comparing it.

The order (see orders.py) has the resolved commands of a toolchain, the files, the standard input and the limit of the
build. The answer has the ends of both commands; "run" is None if the program was not built.
"""

from dataclasses import asdict, dataclass
from typing import Any

from swarmeval.sandbox.executed.handle import CommandEnd, CommandJail, Limits
from swarmeval.sandbox.executed.jail import CANNOT_RUN
from swarmeval.sandbox.executed.judging import BUILD_LIMITS, complaint
from swarmeval.sandbox.jail_handle import SandboxFault

MOST_OUTPUT = 1 << 22  # bytes of standard output


@dataclass(frozen=True, slots=True)
class Captured:
    """The ends of a program's commands."""

    build: CommandEnd | None  # None: programs in its language are not built
    run: CommandEnd | None  # None: the build failed


def capture(jail: CommandJail, order: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Carry out an order in the jail. Raises SandboxFault if the toolchain cannot be run."""
    jail.begin(order["files"])
    build = None
    if order["build"]:
        build_limits = Limits(order["build_s"], BUILD_LIMITS.memory_mb, BUILD_LIMITS.most_output)
        build = jail.run(order["build"], build_limits, order["environment"])
        if build.exit_code == CANNOT_RUN:  # compilers do not run the program, so it cannot cause this
            raise SandboxFault(f"the toolchain cannot be run: {complaint(build.errors)}")
        if not build.succeeded:
            return {"build": asdict(build), "run": None}
    run = jail.run(order["run"], limits, order["environment"], order["stdin"])
    if run.cannot_run:
        raise SandboxFault(f"the toolchain cannot be run: {complaint(run.errors)}")
    return {"build": None if build is None else asdict(build), "run": asdict(run)}


def captured(answer: dict[str, Any]) -> Captured:
    """The record of a warden's answer."""
    build, run = (None if answer[name] is None else CommandEnd(**answer[name]) for name in ("build", "run"))
    return Captured(build, run)
