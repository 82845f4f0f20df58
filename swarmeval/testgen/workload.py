"""An endless sequence of the functions of packages. A thread reads modules ahead, and starts over after the last.

Memory does not grow with the number of functions.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from swarmeval.testgen.sources import Context, Module

AHEAD = 64  # functions read in advance, so that reading a file does not delay a request


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One function to request tests for."""

    module: Module
    context: Context
    round: int  # number of earlier passes through all functions

    @property
    def key(self) -> tuple[int, str]:
        """Key of the test file that its reply belongs to."""
        return self.round, self.module.name

    @property
    def is_first(self) -> bool:
        """Whether it is the first function of its module."""
        return self.context is self.module.functions[0]


class Workload:
    """Supplies functions in order. Reads ahead within its context."""

    def __init__(self, read: Callable[[], Iterable[Module]], ahead: int = AHEAD) -> None:
        """`read` returns all modules from the first one, with at least one function. It is called once per round."""
        self._read = read
        self._items: asyncio.Queue[WorkItem | BaseException] = asyncio.Queue(ahead)
        self._reading: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "reading")  # one, because each thread retains its parsing memory
        self._last: WorkItem | None = None
        self._left_out: tuple[int, str] | None = None

    async def __aenter__(self) -> Self:
        self._reading = asyncio.create_task(self._read_ahead())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._thread.shutdown(wait=False)

    async def next(self) -> WorkItem:
        """The next function. Raises any error of the reading thread."""
        while True:
            item = await self._items.get()
            if isinstance(item, BaseException):
                raise item
            if item.key != self._left_out:
                self._last = item
                return item

    def skip_rest_of_module(self) -> None:
        """Skip the remaining functions of the current module."""
        self._left_out = self._last.key if self._last is not None else None

    async def _read_ahead(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            number = 0
            while True:
                modules = iter(self._read())
                while (module := await loop.run_in_executor(self._thread, next, modules, None)) is not None:
                    for context in module.functions:
                        await self._items.put(WorkItem(module, context, number))
                number += 1
        except Exception as error:  # noqa: BLE001 (next() raises it)
            await self._items.put(error)


def first_functions(modules: Iterable[Module], most: int | None) -> Iterator[Module]:
    """The modules with the first `most` functions in total; the last module may be cut short."""
    left = most
    for module in modules:
        if left is None:
            yield module
            continue
        yield replace(module, functions=module.functions[:left])
        left -= len(module.functions)
        if left <= 0:
            return
