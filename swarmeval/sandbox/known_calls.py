"""What the tests of each task call their function with, as the benchmark's own solution showed it.

A program is asked all of these calls before any of its answers is looked at. Else it would know that its answers were
right so far whenever another call arrives, and could pass that on to the next run of its task.
"""

from collections.abc import Sequence

from swarmeval.records import Program


class KnownCalls:
    """In memory, for one session."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str, str], Sequence[str]] = {}

    def ahead(self, program: Program) -> Sequence[str] | None:
        """The calls to ask ahead, in their order; None where the program shall show which there are."""
        return None if program.is_reference else self._calls.get(_key(program), ())

    def learn(self, program: Program, calls: Sequence[str]) -> None:
        """Keep what a benchmark's own solution was asked."""
        self._calls[_key(program)] = calls


def _key(program: Program) -> tuple[str, str, str]:
    return (program.context, program.tests, program.entry_point)
