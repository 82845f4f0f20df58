"""The calls that the tests of each task make, recorded while the reference solution was judged.

A program must answer all of these calls before any answer is checked. Otherwise each further call would tell the
program that its answers so far were right, and it could pass that on to the next run of its task.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from swarmeval.records import Program

MOST_CHARS = 1 << 28  # of all calls in memory
ENTRY_CHARS = 1 << 14  # that each entry counts for besides its calls, which limits their number
CALL_CHARS = 64  # the same for each call


class KnownCalls:
    """The recorded calls of the most recently used tests."""

    def __init__(self, most_chars: int = MOST_CHARS) -> None:
        self._most_chars = most_chars
        self._chars = 0
        self._calls: OrderedDict[bytes, Sequence[str]] = OrderedDict()

    def knows(self, program: Program) -> bool:
        """Whether a reference solution for the same tests has run. Its calls then stay longer than those of others."""
        key = _key(program)
        if key not in self._calls:
            return False
        self._calls.move_to_end(key)
        return True

    def ahead(self, program: Program) -> Sequence[str] | None:
        """The calls to make in advance, in order; None for a reference solution, whose calls are recorded."""
        return None if program.is_reference else self._calls.get(_key(program), ())

    def learn(self, program: Program, calls: Sequence[str]) -> None:
        """Store the calls recorded with a reference solution; none if it failed. Earlier ones are then kept."""
        key = _key(program)
        if not calls and key in self._calls:
            return
        self._forget(key)
        self._calls[key] = calls
        self._chars += _size(calls)
        while self._chars > self._most_chars and len(self._calls) > 1:
            self._forget(next(iter(self._calls)))

    def _forget(self, key: bytes) -> None:
        if key in self._calls:
            self._chars -= _size(self._calls.pop(key))


def _size(calls: Sequence[str]) -> int:
    return ENTRY_CHARS + sum(CALL_CHARS + len(call) for call in calls)


def _key(program: Program) -> bytes:
    tested = (program.context, program.tests, program.entry_point, program.owner)
    return hashlib.sha256(repr(tested).encode()).digest()
