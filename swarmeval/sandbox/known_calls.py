"""The calls that the tests of each task make, recorded while the reference solution was judged.

A program must answer all of these calls before any answer is checked. Otherwise each further call would tell the
program that its answers so far were right, and it could pass that on to the next run of its task.
"""

from collections.abc import Sequence

from swarmeval.records import Program


class KnownCalls:
    """The recorded calls of one session, in memory."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str, str], Sequence[str]] = {}

    def ahead(self, program: Program) -> Sequence[str] | None:
        """The calls to make in advance, in order; None for a reference solution, whose calls are recorded."""
        return None if program.is_reference else self._calls.get(_key(program), ())

    def learn(self, program: Program, calls: Sequence[str]) -> None:
        """Store the calls recorded with a reference solution."""
        self._calls[_key(program)] = calls


def _key(program: Program) -> tuple[str, str, str]:
    return (program.context, program.tests, program.entry_point)
