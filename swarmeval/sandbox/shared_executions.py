"""Executes equal programs once: while one runs, equal ones of its client wait; later ones find it in memory.

Independent of tasks and verdicts. Two programs are equal if everything about them is.
"""

import asyncio
import hashlib
import marshal
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import astuple, dataclass, replace
from weakref import WeakValueDictionary

from swarmeval.handling import Turn
from swarmeval.records import Execution, Outcome, Program

KEPT = 1 << 14  # executions in memory, at most about 1 KB each

Run = Callable[[Program, float], Awaitable[Execution]]  # the number: part of the time limit


@dataclass(frozen=True, slots=True)
class Ended:
    """An execution, and the part of the time limit that it had."""

    execution: Execution
    part: float

    def answers(self, part: float) -> bool:
        """Whether a program with this part of the time limit would have ended in the same way."""
        return self.execution.outcome is not Outcome.TIMED_OUT or self.part >= part


class SharedExecutions:
    """The executions of one session, the most recently used ones."""

    def __init__(self, run: Run, kept: int = KEPT) -> None:
        self._run = run
        self._most = kept
        self._ended: OrderedDict[bytes, Ended] = OrderedDict()
        # Each exists while it is used. Clients do not wait for each other, because a program may be at the end of its
        # client's queue.
        self._running: WeakValueDictionary[tuple[bytes, str], asyncio.Lock] = WeakValueDictionary()

    async def execution(
        self, program: Program, part: float = 1.0, again: bool = False, turn: Turn = nullcontext, client: str = ""
    ) -> tuple[Execution, bool]:
        """Return how a program ends within this part of the time limit, and whether an equal one has shown this.

        A program that ran out of a shorter time is executed again. `again`: execute the program in any case. If an
        execution fails or is cancelled, one of those that wait for it executes the program. `turn` is one of the
        client's, and only held while the program runs.
        """
        key = _key(program)
        lock = self._running.setdefault((key, client), asyncio.Lock())
        async with lock:
            ended = self._ended.get(key)
            if ended is not None and ended.answers(part) and not again:
                self._ended.move_to_end(key)
                return ended.execution, True
            async with turn():
                execution = await self._run(program, part)
            self._keep(key, Ended(execution, part))
            return execution, False

    def recall(self, program: Program, execution: Execution) -> None:
        """Keep an execution of an earlier session, which had the whole time limit."""
        self._keep(_key(program), Ended(execution, 1.0))

    def _keep(self, key: bytes, ended: Ended) -> None:
        self._ended[key] = ended
        self._ended.move_to_end(key)
        if len(self._ended) > self._most:
            self._ended.popitem(last=False)


def _key(program: Program) -> bytes:
    """A digest of everything about a program, because solutions and tests may be long."""
    # Version 2 of the format depends on values only; later ones also write which objects are the same.
    return hashlib.sha256(marshal.dumps(astuple(replace(program, is_reference=False)), 2)).digest()
