"""The terms on which a judge handles one completion, and the turns that it waits for."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

Turn = Callable[[], AbstractAsyncContextManager[None]]  # waits for a turn, and keeps it inside the block


@dataclass(frozen=True, slots=True)
class Handling:
    """The terms for one completion. Waiting for an equal program of the same client takes no turn."""

    part: float = 1.0  # of the time limit
    again: bool = False  # whether to execute the program even if an equal one has been executed
    memory_mb: int | None = None  # Program.memory_mb
    owner: str = ""  # Program.owner
    client: str = ""  # whose turns these are
    extraction_turn: Turn = nullcontext
    execution_turn: Turn = nullcontext
