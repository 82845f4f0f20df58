"""The calls that each task's tests make, recorded when the benchmark's own solution was judged.

A program must answer all of these calls before any of its answers is examined. Otherwise, each further call would tell
it that its earlier answers were right. It could pass that on to the next run of its task.
"""

from collections.abc import Sequence

from swarmeval.records import Program


class KnownCalls:
    """The known calls of one session, in memory."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str, str], Sequence[str]] = {}

    def ahead(self, program: Program) -> Sequence[str] | None:
        """The calls to ask ahead, in order; None for the benchmark's own solution, which shows them."""
        return None if program.is_reference else self._calls.get(_key(program), ())

    def learn(self, program: Program, calls: Sequence[str]) -> None:
        """Keep the calls that tests made to the benchmark's own solution."""
        self._calls[_key(program)] = calls


def _key(program: Program) -> tuple[str, str, str]:
    return (program.context, program.tests, program.entry_point)
